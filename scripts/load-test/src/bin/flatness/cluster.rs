//! Redis and the services of one measured point. All of them are new, so that no point inherits from another.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use load_test::health;
use load_test::target::Target;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::process::{Process, free_address};
use crate::redis::Client;

/// How long a process may take to serve; usually it is milliseconds.
const START_TIMEOUT: Duration = Duration::from_secs(10);
const START_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The programs that are measured.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    ingress: PathBuf,
    proxy: PathBuf,
    /// `redis-server`, or what REDIS_SERVER names.
    pub(crate) redis: String,
}

impl Programs {
    /// Finds the services in `directory`, or builds them.
    pub(crate) async fn find(directory: Option<&Path>) -> Result<Self, String> {
        let directory = match directory {
            Some(directory) => directory.to_owned(),
            None => build().await?,
        };
        let service = |name: &str| {
            let file = directory.join(name);
            match file.is_file() {
                true => Ok(file),
                false => Err(format!("there is no {name} in {}", directory.display())),
            }
        };
        Ok(Self {
            ingress: service("ingress-service")?,
            proxy: service("proxy-service")?,
            redis: std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned()),
        })
    }
}

/// Builds the services; where they are then.
async fn build() -> Result<PathBuf, String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = Command::new(&cargo);
    command
        .args(["build", "--release", "-p", "ingress-service", "-p", "proxy-service"])
        .arg("--manifest-path")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml"))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let status = command.status().await.map_err(|error| {
        format!("could not run {cargo} to build the services: {error}; --services names a directory with them")
    })?;
    if !status.success() {
        return Err(format!("could not build the services: {cargo} ended with {status}"));
    }
    // This program is in the target directory itself: …/release/flatness or …/debug/flatness.
    let program = std::env::current_exe().map_err(|error| format!("could not find this program: {error}"))?;
    let target = program.ancestors().nth(2).unwrap_or(Path::new("."));
    Ok(target.join("release"))
}

/// Variables of a service, by name.
pub(crate) type Variables<'a> = &'a [(&'a str, String)];

/// What runs for one point. Ends with its value.
#[derive(Debug)]
pub(crate) struct Cluster {
    programs: Programs,
    redis: Process,
    pub(crate) ingresses: Vec<Process>,
    pub(crate) proxy: Option<Process>,
    directory: TempDir,
}

impl Cluster {
    /// Redis alone, in memory only.
    pub(crate) async fn redis(programs: &Programs) -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| format!("could not make a directory: {error}"))?;
        let address = free_address()?;
        let mut command = Command::new(&programs.redis);
        command
            .args(["--port", &address.port().to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(directory.path());
        let mut redis = Process::start("redis-server", address, command, directory.path())?;
        let deadline = Instant::now() + START_TIMEOUT;
        while Client::connect(address).await.is_err() {
            wait(&mut redis, deadline).await?;
        }
        Ok(Self {
            programs: programs.clone(),
            redis,
            ingresses: Vec::new(),
            proxy: None,
            directory,
        })
    }

    /// Redis, as many ingresses, and one proxy.
    pub(crate) async fn all(programs: &Programs, ingresses: usize, variables: Variables<'_>) -> Result<Self, String> {
        let mut cluster = Self::redis(programs).await?;
        cluster.add_proxy(variables).await?;
        for number in 1..=ingresses {
            let (program, name) = (&cluster.programs.ingress, format!("ingress-{number}"));
            let ingress = cluster.service(program, &name, variables).await?;
            cluster.ingresses.push(ingress);
        }
        Ok(cluster)
    }

    /// Starts the proxy.
    pub(crate) async fn add_proxy(&mut self, variables: Variables<'_>) -> Result<(), String> {
        self.proxy = Some(self.service(&self.programs.proxy, "proxy", variables).await?);
        Ok(())
    }

    /// A new connection to Redis.
    pub(crate) async fn client(&self) -> Result<Client, String> {
        let connected = Client::connect(self.redis.address).await;
        connected.map_err(|error| self.redis.with_output(&format!("could not connect: {error}")))
    }

    /// CPU time of Redis so far.
    pub(crate) fn redis_cpu(&self) -> Result<Duration, String> {
        self.redis.cpu()
    }

    /// CPU time of all services so far.
    pub(crate) fn services_cpu(&self) -> Result<Duration, String> {
        let services = self.ingresses.iter().chain(&self.proxy);
        services.map(Process::cpu).sum()
    }

    /// Ends everything, and waits until it is gone.
    pub(crate) async fn end(self) {
        for process in self.ingresses.into_iter().chain(self.proxy) {
            process.end().await;
        }
        self.redis.end().await;
    }

    async fn service(&self, program: &Path, name: &str, variables: Variables<'_>) -> Result<Process, String> {
        let address = free_address()?;
        let mut command = Command::new(program);
        command
            .env("BROKER_URL", format!("redis://{}", self.redis.address))
            .env("LISTEN_ADDR", address.to_string())
            .env("RUST_LOG", "warn")
            .envs(variables.iter().map(|(name, value)| (name, value)));
        let mut process = Process::start(name, address, command, self.directory.path())?;
        let target = target(&process);
        let deadline = Instant::now() + START_TIMEOUT;
        while !health::check(&target).await.is_ok_and(|found| found.warning.is_none()) {
            wait(&mut process, deadline).await?;
        }
        Ok(process)
    }
}

/// Where a service takes requests.
pub(crate) fn target(service: &Process) -> Target {
    let url = format!("http://{}", service.address);
    url.parse().expect("an address makes a URL")
}

async fn wait(process: &mut Process, deadline: Instant) -> Result<(), String> {
    process.check()?;
    if Instant::now() > deadline {
        return Err(process.with_output(&format!("it does not serve after {START_TIMEOUT:?}")));
    }
    sleep(START_POLL_INTERVAL).await;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_missing_service_is_named_with_where_it_was_looked_for() {
        let error = Programs::find(Some(Path::new("/nowhere"))).await.unwrap_err();
        assert_eq!(error, "there is no ingress-service in /nowhere");
    }

    #[tokio::test]
    async fn a_missing_redis_server_is_named() {
        let programs = Programs {
            ingress: PathBuf::new(),
            proxy: PathBuf::new(),
            redis: "/nowhere/redis-server".to_owned(),
        };
        let error = Cluster::redis(&programs).await.unwrap_err();
        assert!(error.starts_with("could not start redis-server"), "{error}");
    }
}
