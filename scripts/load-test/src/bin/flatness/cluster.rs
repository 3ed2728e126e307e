//! Redis and the services of one measured point. All of them are new, so that no point inherits from another.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use load_test::health;
use load_test::target::Target;
use tempfile::TempDir;
use testbed::redis::Settings;
use testbed::{Process, RedisServer, free_address};
use tokio::process::Command;

/// How long a service may take to serve; usually it is milliseconds.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// The programs that are measured.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    ingress: PathBuf,
    proxy: PathBuf,
}

impl Programs {
    /// Finds the services in `directory`, or builds them.
    pub(crate) async fn find(directory: Option<&Path>) -> Result<Self, String> {
        let services = ["ingress-service", "proxy-service"];
        let [ingress, proxy] = testbed::programs::find(directory, &services, services).await?;
        Ok(Self { ingress, proxy })
    }
}

/// A service that runs.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) process: Process,
    /// Where it serves.
    pub(crate) address: SocketAddr,
}

/// Variables of a service, by name.
pub(crate) type Variables<'a> = &'a [(&'a str, String)];

/// What runs for one point. Ends with its value.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) ingresses: Vec<Service>,
    pub(crate) proxy: Option<Service>,
    pub(crate) redis: RedisServer,
    programs: Programs,
    directory: TempDir,
}

impl Cluster {
    /// Redis alone, in memory only.
    pub(crate) async fn redis(programs: &Programs) -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| format!("could not make a directory: {error}"))?;
        let redis = RedisServer::start(Settings::default()).await?;
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

    /// CPU time of all services so far.
    pub(crate) fn services_cpu(&self) -> Result<Duration, String> {
        let services = self.ingresses.iter().chain(&self.proxy);
        services.map(|service| service.process.cpu()).sum()
    }

    async fn service(&self, program: &Path, name: &str, variables: Variables<'_>) -> Result<Service, String> {
        let address = free_address();
        let mut command = Command::new(program);
        command
            .env("BROKER_URL", format!("redis://{}", self.redis.address))
            .env("LISTEN_ADDR", address.to_string())
            .env("RUST_LOG", "warn")
            .envs(variables.iter().map(|(name, value)| (name, value)));
        let process = Process::start(name, command, self.directory.path())?;
        let mut service = Service { process, address };
        let is_ready = || async { health::is_ready(address).await.then_some(()) };
        service.process.answers(START_TIMEOUT, is_ready).await?;
        Ok(service)
    }
}

/// Where a service takes requests.
pub(crate) fn target(service: &Service) -> Target {
    let url = format!("http://{}", service.address);
    url.parse().expect("an address makes a URL")
}
