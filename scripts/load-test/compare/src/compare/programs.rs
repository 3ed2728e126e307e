//! The programs that take part: servers found on the machine, the rest built here.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use crate::BoxError;
use crate::lineup::{Peer, Server};

/// Where servers are that are not in `PATH`. RabbitMQ's own directory comes before all others: what Debian has in
/// `/usr/sbin` changes user and directory first.
const FIRST: &str = "/usr/lib/rabbitmq/bin";
const LAST: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// Everything a run starts.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) peer: PathBuf,
    pub(crate) ingress_service: PathBuf,
    pub(crate) proxy_service: PathBuf,
    pub(crate) load_test: PathBuf,
    servers: HashMap<Server, PathBuf>,
}

impl Programs {
    /// Builds what is ours, as a release, and finds the servers.
    pub(crate) async fn prepare(load_test: Option<PathBuf>) -> Result<Self, BoxError> {
        let (ours, main) = (Path::new(env!("CARGO_MANIFEST_DIR")), repository());
        let mut built = build(ours, &["--bin", "peer"]).await?;
        // One build each, so that no other package's features get into what ships.
        built.extend(build(&main, &["-p", "ingress-service"]).await?);
        built.extend(build(&main, &["-p", "proxy-service"]).await?);
        if load_test.is_none() {
            built.extend(build(&main, &["-p", "load-test"]).await?);
        }
        let mut take = |name: &str| built.remove(name).ok_or(format!("cargo built no program {name}"));
        Ok(Self {
            peer: take("peer")?,
            ingress_service: take("ingress-service")?,
            proxy_service: take("proxy-service")?,
            load_test: match load_test {
                Some(path) => path.canonicalize().map_err(|error| format!("--load-test: {error}"))?,
                None => take("load-test")?,
            },
            servers: [Server::Nats, Server::Rabbitmq, Server::Redis]
                .into_iter()
                .filter_map(|server| Some((server, find(server.program())?)))
                .collect(),
        })
    }

    /// The path of a server's program.
    pub(crate) fn server(&self, server: Server) -> Result<&Path, BoxError> {
        let found = self.servers.get(&server).map(PathBuf::as_path);
        found.ok_or_else(|| not_installed(server.program()))
    }

    /// The path of any other program.
    pub(crate) fn find(&self, program: &str) -> Result<PathBuf, BoxError> {
        find(program).ok_or_else(|| not_installed(program))
    }
}

/// The root of the repository.
pub(crate) fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(3).unwrap_or(here).to_owned()
}

/// Installs the servers that `peers` need and the machine does not have.
pub(crate) async fn install(peers: &[Peer]) -> Result<(), BoxError> {
    let servers = peers.iter().filter_map(|peer| peer.server()).map(Server::program);
    let mut missing: Vec<_> = servers.filter(|program| find(program).is_none()).collect();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    apt_get(&["update", "-qq"]).await?;
    apt_get(&[&["install", "-y", "-qq", "--no-install-recommends"], missing.as_slice()].concat()).await
}

async fn apt_get(arguments: &[&str]) -> Result<(), BoxError> {
    let mut command = match rustix::process::geteuid().is_root() {
        true => Command::new("apt-get"),
        false => Command::new("sudo"),
    };
    if !rustix::process::geteuid().is_root() {
        command.arg("apt-get");
    }
    let status = command
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .kill_on_drop(true)
        .status()
        .await?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("apt-get {} ended with {status}", arguments.join(" ")).into()),
    }
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path);
    let directories = std::iter::once(FIRST.into())
        .chain(directories)
        .chain(LAST.map(PathBuf::from));
    directories
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

fn not_installed(program: &str) -> BoxError {
    format!("{program} is not installed (--install gets it)").into()
}

/// Builds in the workspace at `root`; the programs by name, wherever cargo put them.
async fn build(root: &Path, what: &[&str]) -> Result<HashMap<String, PathBuf>, BoxError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let output = Command::new(cargo)
        .args([
            "build",
            "--release",
            "--locked",
            "--message-format=json-render-diagnostics",
        ])
        .arg("--manifest-path")
        .arg(root.join("Cargo.toml"))
        .args(what)
        // What ships is built with the repository's .cargo/config.toml, and peers no worse.
        .current_dir(repository())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await?;
    if !output.status.success() {
        return Err(format!("cargo build {} failed", what.join(" ")).into());
    }
    Ok(executables(&String::from_utf8_lossy(&output.stdout)))
}

fn executables(messages: &str) -> HashMap<String, PathBuf> {
    let messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    messages
        .filter_map(|message| {
            let name = message["target"]["name"].as_str()?.to_owned();
            Some((name, message["executable"].as_str()?.into()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_read_from_what_cargo_says_and_libraries_are_not() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"serde"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"peer"},"executable":"/target/release/peer"}
{"reason":"build-finished","success":true}"#;
        let expected = HashMap::from([("peer".to_owned(), PathBuf::from("/target/release/peer"))]);
        assert_eq!(executables(messages), expected);
    }

    #[test]
    fn the_repository_is_where_the_services_are() {
        assert!(repository().join("ingress-service/Cargo.toml").is_file());
    }
}
