//! The brokers: each started in a directory of its own, on free ports of the loopback interface, with its own
//! defaults but for what a peer's durability asks for.

use std::path::Path;
use std::time::Duration;

use testbed::{Process, free_port};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::BoxError;
use crate::lineup::{Peer, Server};
use crate::process;
use crate::programs::Programs;

/// RabbitMQ takes several seconds on two cores, and more when they are busy.
const START_TIMEOUT: Duration = Duration::from_secs(90);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// A broker that takes connections.
pub(crate) struct Broker {
    /// All of them count; they end in this order.
    pub(crate) processes: Vec<Process>,
    /// Where clients find it.
    pub(crate) url: String,
    /// As it says itself.
    pub(crate) version: String,
}

/// Starts the broker between `peer`'s front and worker, where there is one.
pub(crate) async fn start(peer: Peer, programs: &Programs, directory: &Path) -> Result<Option<Broker>, BoxError> {
    let Some(server) = peer.server() else { return Ok(None) };
    let port = free_port();
    let mut processes = match server {
        Server::Nats => vec![nats(peer, programs, directory, port)?],
        Server::Redis => vec![redis(peer, programs, directory, port)?],
        Server::Rabbitmq => rabbitmq(programs, directory, port).await?,
    };
    let version = processes[0].answers(START_TIMEOUT, || greet(server, port)).await?;
    let scheme = match server {
        Server::Nats => "nats",
        Server::Redis => "redis",
        Server::Rabbitmq => "amqp",
    };
    let url = format!("{scheme}://127.0.0.1:{port}");
    Ok(Some(Broker {
        processes,
        url,
        version,
    }))
}

/// The version the server answers with, once it answers.
async fn greet(server: Server, port: u16) -> Option<String> {
    let greeting: &[u8] = match server {
        // It speaks first.
        Server::Nats => b"",
        Server::Redis => b"INFO server\r\n",
        Server::Rabbitmq => b"AMQP\x00\x00\x09\x01",
    };
    let mut answer = vec![0; 4096];
    let exchange = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(greeting).await?;
        stream.read(&mut answer).await
    };
    let length = timeout(ANSWER_TIMEOUT, exchange).await.ok()?.ok()?;
    version(server, &answer[..length])
}

fn version(server: Server, answer: &[u8]) -> Option<String> {
    // In AMQP's table of properties a text has its type and four bytes of length before it.
    let (mark, skipped): (&[u8], usize) = match server {
        Server::Nats => (br#""version":""#, 0),
        Server::Redis => (b"redis_version:", 0),
        Server::Rabbitmq => (b"\x07versionS", 4),
    };
    let start = answer.windows(mark.len()).position(|bytes| bytes == mark)? + mark.len() + skipped;
    let is_version = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+');
    let version = answer.get(start..)?.iter().take_while(is_version);
    let version: String = version.map(|byte| char::from(*byte)).collect();
    (!version.is_empty()).then_some(version)
}

fn nats(peer: Peer, programs: &Programs, directory: &Path, port: u16) -> Result<Process, BoxError> {
    let mut arguments = vec!["--addr".to_owned(), "127.0.0.1".to_owned()];
    arguments.extend(["--port".to_owned(), port.to_string()]);
    if peer == Peer::Jetstream {
        let store = directory.join("jetstream").display().to_string();
        arguments.extend(["--jetstream".to_owned(), "--store_dir".to_owned(), store]);
    }
    let program = programs.server(Server::Nats)?;
    process::start("nats-server", program, arguments, &[], directory)
}

fn redis(peer: Peer, programs: &Programs, directory: &Path, port: u16) -> Result<Process, BoxError> {
    let port = port.to_string();
    let mut arguments = vec!["--port", &port, "--bind", "127.0.0.1", "--save", ""];
    arguments.extend(match peer {
        Peer::RoundtripAof => ["--appendonly", "yes", "--appendfsync", "everysec"],
        Peer::RoundtripAofAlways => ["--appendonly", "yes", "--appendfsync", "always"],
        _ => ["--appendonly", "no", "--appendfsync", "no"],
    });
    let program = programs.server(Server::Redis)?;
    process::start("redis-server", program, arguments, &[], directory)
}

/// RabbitMQ with its own port mapper: one that the node starts by itself would stay behind.
async fn rabbitmq(programs: &Programs, directory: &Path, port: u16) -> Result<Vec<Process>, BoxError> {
    let mapper_port = free_port();
    let arguments = ["-port", &mapper_port.to_string(), "-address", "127.0.0.1"];
    let mut mapper = process::start("epmd", &programs.find("epmd")?, arguments, &[], directory)?;
    let takes_connections = || async { TcpStream::connect(("127.0.0.1", mapper_port)).await.ok() };
    mapper.answers(START_TIMEOUT, takes_connections).await?;
    let place = |name: &str| directory.join(name).display().to_string();
    let variables = [
        ("HOME", place("")),
        ("ERL_EPMD_PORT", mapper_port.to_string()),
        ("RABBITMQ_NODENAME", format!("compare{port}@localhost")),
        ("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1".to_owned()),
        ("RABBITMQ_NODE_PORT", port.to_string()),
        ("RABBITMQ_DIST_PORT", free_port().to_string()),
        ("RABBITMQ_MNESIA_BASE", place("mnesia")),
        ("RABBITMQ_LOG_BASE", place("log")),
        ("RABBITMQ_PID_FILE", place("pid")),
        // None of these exist: neither the machine's configuration nor a plugin takes part.
        ("RABBITMQ_CONF_ENV_FILE", place("rabbitmq-env.conf")),
        ("RABBITMQ_CONFIG_FILE", place("rabbitmq.conf")),
        ("RABBITMQ_ADVANCED_CONFIG_FILE", place("advanced.config")),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", place("enabled_plugins")),
    ];
    let program = programs.server(Server::Rabbitmq)?;
    let node = process::start("rabbitmq-server", program, [""; 0], &variables, directory)?;
    Ok(vec![node, mapper])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_says_its_version() {
        let nats = br#"INFO {"server_id":"NB","version":"2.9.10","proto":1}"#;
        let redis = b"$340\r\n# Server\r\nredis_version:7.0.15\r\nredis_git_sha1:0\r\n";
        let rabbitmq = b"\x08platformS\0\0\0\x0aErlang/OTP\x07versionS\0\0\0\x063.10.8\0\0\0\x0e";
        assert_eq!(version(Server::Nats, nats).as_deref(), Some("2.9.10"));
        assert_eq!(version(Server::Redis, redis).as_deref(), Some("7.0.15"));
        assert_eq!(version(Server::Rabbitmq, rabbitmq).as_deref(), Some("3.10.8"));
    }

    #[test]
    fn a_server_that_is_still_loading_has_no_version() {
        assert_eq!(version(Server::Redis, b"-LOADING Redis is loading the dataset"), None);
    }
}
