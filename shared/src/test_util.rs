//! Real parts for tests: a redis-server of their own, in a directory of its own, on a port of its own.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// A redis-server that ends with this value. Keeps its data over [`RedisServer::stop`] and
/// [`RedisServer::start`]: every write is in the append-only file before it is answered.
#[derive(Debug)]
pub struct RedisServer {
    port: u16,
    directory: TempDir,
    environment: Vec<(&'static str, PathBuf)>,
    process: Option<Child>,
}

impl RedisServer {
    /// Starts a server on a free port and waits until it answers.
    ///
    /// # Panics
    /// When redis-server is not installed or does not start.
    pub async fn spawn() -> Self {
        Self::spawn_in(Vec::new()).await
    }

    /// The same, with variables set.
    ///
    /// # Panics
    /// When redis-server is not installed or does not start.
    pub async fn spawn_in(environment: Vec<(&'static str, PathBuf)>) -> Self {
        let mut server = Self {
            port: free_port(),
            directory: tempfile::tempdir().expect("a temporary directory can be made"),
            environment,
            process: None,
        };
        server.start().await;
        server
    }

    /// The server's URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// The server's port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts the server again after [`RedisServer::stop`].
    ///
    /// # Panics
    /// When it does not answer within a minute.
    pub async fn start(&mut self) {
        let log = std::fs::File::create(self.directory.path().join("log")).expect("the directory is writable");
        let process = Command::new(program())
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            // Written is enough: it outlives the process, and a busy disk keeps nobody waiting.
            .args(["--appendonly", "yes", "--appendfsync", "no"])
            // A replica is served as soon as it comes.
            .args(["--repl-diskless-sync-delay", "0"])
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(log)
            .kill_on_drop(true)
            .spawn()
            .expect("redis-server is installed: scripts/test does it, through the system's package manager");
        self.process = Some(process);
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.command(&["PING"]).await.is_none() {
            assert!(Instant::now() < deadline, "redis-server did not answer within a minute");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Kills the server, as a crash would.
    ///
    /// # Panics
    /// When it is not running.
    pub async fn stop(&mut self) {
        let mut process = self.process.take().expect("the server is running");
        process.kill().await.expect("our own child can be killed");
    }

    /// Halts the server, as a frozen machine would: connections stay open, and nothing answers.
    ///
    /// # Panics
    /// When it is not running.
    pub async fn freeze(&self) {
        self.signal("STOP").await;
    }

    /// Lets the server go on after [`RedisServer::freeze`].
    ///
    /// # Panics
    /// When it is not running.
    pub async fn thaw(&self) {
        self.signal("CONT").await;
    }

    async fn signal(&self, name: &str) {
        let process = self
            .process
            .as_ref()
            .and_then(Child::id)
            .expect("the server is running");
        let mut kill = Command::new("kill");
        let sent = kill.args([format!("-{name}"), process.to_string()]).status().await;
        assert!(sent.is_ok_and(|status| status.success()), "our own child takes signals");
    }

    /// Runs a command, as redis-cli would; `None` when it failed.
    pub async fn command(&self, words: &[&str]) -> Option<redis::Value> {
        let client = redis::Client::open(self.url()).expect("the URL is ours");
        let mut connection = client.get_multiplexed_async_connection().await.ok()?;
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut connection).await.ok()
    }

    /// A number that a command answers with, for example XLEN.
    ///
    /// # Panics
    /// When the command fails or answers something else.
    pub async fn number(&self, words: &[&str]) -> i64 {
        match self.command(words).await {
            Some(redis::Value::Int(number)) => number,
            other => panic!("{words:?} answered {other:?}"),
        }
    }

    /// Closes every client's connection, as a network fault would.
    pub async fn cut_connections(&self) {
        self.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
            .await;
    }
}

/// A port that was free a moment ago. Below the range from which systems take ports for connections: while
/// a server is stopped, nobody gets its port by accident. Never given twice by one process.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 20_000;
    // Test programs that run at the same time begin at different places.
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| {
        let [high, low, ..] = uuid::Uuid::new_v4().into_bytes();
        AtomicU16::new(u16::from_be_bytes([high, low]))
    });
    (0..COUNT)
        .map(|_| FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("some port is free")
}

/// REDIS_SERVER names another program that speaks the protocol, valkey-server for example.
fn program() -> PathBuf {
    std::env::var_os("REDIS_SERVER").map_or_else(|| "redis-server".into(), PathBuf::from)
}
