//! A redis-server of its own for whoever needs one, and a client that goes past everything that is tested.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, FromRedisValue, RedisError, Value};
use tempfile::TempDir;
use tokio::process::Command;

use crate::clock::Clock;
use crate::ports::free_address;
use crate::process::{Process, Signal};
use crate::wait::PATIENCE;

pub use redis::Pipeline;

/// How long a command may take: some make the server sleep.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// A redis-server in a directory of its own, on a port of its own. Ends with this value, and keeps what is in its file
/// over [`RedisServer::kill`] and [`RedisServer::restart`].
#[derive(Debug)]
pub struct RedisServer {
    /// Where it serves.
    pub address: SocketAddr,
    arguments: Vec<&'static str>,
    clock: Option<Clock>,
    /// `None` while nobody wants it to run.
    process: Option<Process>,
    /// After the process, which writes there.
    directory: TempDir,
}

/// What a redis-server is started with, beside its port.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Its arguments; without any it keeps everything in memory.
    pub arguments: Vec<&'static str>,
    /// Whether its clock can be set.
    pub clock: bool,
}

impl RedisServer {
    /// Starts a server that keeps its data, and waits until it answers.
    ///
    /// # Panics
    /// When redis-server is not installed or does not start.
    pub async fn spawn() -> Self {
        Self::spawn_with(false).await
    }

    /// The same; its clock can be set.
    ///
    /// # Panics
    /// When redis-server is not installed or does not start.
    pub async fn spawn_with_clock() -> Self {
        Self::spawn_with(true).await
    }

    async fn spawn_with(clock: bool) -> Self {
        // Written is enough: it outlives the process, and a busy disk keeps nobody waiting.
        let mut arguments = vec!["--appendonly", "yes", "--appendfsync", "no"];
        // A replica is served as soon as it comes.
        arguments.extend(["--repl-diskless-sync-delay", "0"]);
        let server = Self::start(Settings { arguments, clock }).await;
        server.unwrap_or_else(|error| panic!("{error}; scripts/test installs redis-server"))
    }

    /// Starts a server, and waits until it answers.
    ///
    /// # Errors
    /// When it cannot be started, or does not answer.
    pub async fn start(Settings { arguments, clock }: Settings) -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| format!("could not make a directory: {error}"))?;
        let mut server = Self {
            address: free_address(),
            arguments,
            clock: match clock {
                true => Some(Clock::make(directory.path()).await?),
                false => None,
            },
            directory,
            process: None,
        };
        server.restart().await?;
        Ok(server)
    }

    /// Starts it again on its data; returns when it has loaded them.
    ///
    /// # Errors
    /// When it cannot be started, or does not answer.
    pub async fn restart(&mut self) -> Result<(), String> {
        let (address, directory) = (self.address, self.directory.path());
        let mut command = Command::new(program());
        command
            .args([
                "--port",
                &address.port().to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
            ])
            .args(&self.arguments)
            .current_dir(directory);
        if let Some(clock) = &self.clock {
            clock.give_to(&mut command);
        }
        let process = self.process.insert(Process::start("redis-server", command, directory)?);
        let loaded = || async move { Client::connect(address).await.ok()?.run::<Value>(&["PING"]).await.ok() };
        process.answers(PATIENCE, loaded).await.map(|_| ())
    }

    /// Kills it, as a crash would.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill(&mut self) -> Result<(), String> {
        self.process.take().ok_or_else(not_running)?.kill().await
    }

    /// Sends a signal. Stopped, it keeps its connections and answers nobody.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, signal: Signal) -> Result<(), String> {
        self.process.as_ref().ok_or_else(not_running)?.signal(signal)
    }

    /// How it ended by itself, if it has; told once.
    pub fn has_died(&mut self) -> Option<String> {
        let status = self.process.as_mut()?.has_ended()?;
        let process = self.process.take()?;
        Some(process.quoted(&format!("it ended by itself, with {status}")))
    }

    /// Sets its clock so many milliseconds off.
    ///
    /// # Errors
    /// When it has none that can be set.
    pub fn set_clock(&self, offset: i64) -> Result<(), String> {
        let clock = self.clock.as_ref().ok_or("its clock cannot be set")?;
        clock.set(offset)
    }

    /// CPU time so far.
    ///
    /// # Errors
    /// When it does not run.
    pub fn cpu(&self) -> Result<Duration, String> {
        self.process.as_ref().ok_or_else(not_running)?.cpu()
    }

    /// The server's URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}/", self.address)
    }

    /// A new connection.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn client(&self) -> Result<Client, String> {
        Client::connect(self.address).await
    }

    /// Runs a command, as redis-cli would; `None` when it failed.
    pub async fn command(&self, words: &[&str]) -> Option<Value> {
        self.client().await.ok()?.run(words).await.ok()
    }

    /// A number that a command answers with, for example XLEN.
    ///
    /// # Panics
    /// When the command fails or answers something else.
    pub async fn number(&self, words: &[&str]) -> i64 {
        match self.command(words).await {
            Some(Value::Int(number)) => number,
            other => panic!("{words:?} answered {other:?}"),
        }
    }

    /// Closes every client's connection, as a network fault would.
    pub async fn cut_connections(&self) {
        self.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
            .await;
    }
}

/// A connection for questions.
#[derive(Clone)]
pub struct Client(MultiplexedConnection);

impl Client {
    /// Connects to a server.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn connect(address: SocketAddr) -> Result<Self, String> {
        let client = redis::Client::open(format!("redis://{address}/")).map_err(failed)?;
        let patient = AsyncConnectionConfig::new().set_response_timeout(Some(ANSWER_TIMEOUT));
        let connection = client.get_multiplexed_async_connection_with_config(&patient).await;
        Ok(Self(connection.map_err(failed)?))
    }

    /// Runs one command.
    ///
    /// # Errors
    /// When it fails, or answers something else.
    pub async fn run<T: FromRedisValue>(&mut self, words: &[&str]) -> Result<T, String> {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut self.0).await.map_err(failed)
    }

    /// Runs many commands; what they answer is passed over.
    ///
    /// # Errors
    /// When one of them fails.
    pub async fn run_all(&mut self, commands: &Pipeline) -> Result<(), String> {
        commands.exec_async(&mut self.0).await.map_err(failed)
    }

    /// A number in a section of INFO.
    ///
    /// # Errors
    /// When the server does not tell it.
    pub async fn info(&mut self, section: &str, name: &str) -> Result<f64, String> {
        let info: String = self.run(&["INFO", section]).await?;
        field(&info, name).ok_or_else(|| format!("INFO has no number {name}"))
    }

    /// What the server has allocated, in bytes.
    ///
    /// # Errors
    /// When it does not tell.
    pub async fn used_memory(&mut self) -> Result<f64, String> {
        self.info("memory", "used_memory").await
    }
}

/// The version of redis-server, as in 7.0.15.
///
/// # Errors
/// When it is not installed, or does not say.
pub async fn version() -> Result<String, String> {
    let program = program();
    let asked = Command::new(&program).arg("--version").output().await;
    let asked = asked.map_err(|error| {
        let program = program.display();
        format!(
            "could not run {program}: {error}; scripts/install redis-server installs it, REDIS_SERVER names another"
        )
    })?;
    let text = String::from_utf8_lossy(&asked.stdout).into_owned();
    version_in(&text).ok_or_else(|| format!("could not read the version of {}: {text}", program.display()))
}

/// REDIS_SERVER names another program that speaks the protocol, valkey-server for example.
fn program() -> PathBuf {
    std::env::var_os("REDIS_SERVER").map_or_else(|| "redis-server".into(), PathBuf::from)
}

fn not_running() -> String {
    "redis-server does not run".to_owned()
}

fn failed(error: RedisError) -> String {
    format!("could not ask redis: {error}")
}

fn field(info: &str, name: &str) -> Option<f64> {
    let mut fields = info.lines().filter_map(|line| line.trim_end().split_once(':'));
    fields.find_map(|(field, value)| (field == name).then(|| value.parse().ok())?)
}

/// As in "Redis server v=7.0.15 sha=…".
fn version_in(text: &str) -> Option<String> {
    let mut words = text.split_whitespace();
    words.find_map(|word| word.strip_prefix("v=")).map(str::to_owned)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_ends_by_itself_is_told_once_and_one_that_was_killed_never() {
        let mut server = RedisServer::spawn().await;
        assert_eq!(server.has_died(), None);
        server.command(&["SET", "kept", "7"]).await.unwrap();
        server.kill().await.unwrap();
        assert_eq!(server.has_died(), None);
        assert!(server.signal(Signal::TERM).is_err() && server.command(&["PING"]).await.is_none());
        server.restart().await.unwrap();
        let kept: i64 = server.client().await.unwrap().run(&["GET", "kept"]).await.unwrap();
        assert_eq!(kept, 7);
        server.signal(Signal::TERM).unwrap();
        server.process.as_mut().unwrap().ended(PATIENCE).await.unwrap();
        assert!(server.has_died().unwrap().contains("it ended by itself"));
        assert_eq!(server.has_died(), None);
    }

    #[tokio::test]
    async fn commands_are_run_one_by_one_and_many_at_once() {
        let server = RedisServer::start(Settings::default()).await.unwrap();
        let mut client = server.client().await.unwrap();
        let mut many = redis::pipe();
        many.cmd("RPUSH").arg(&["list", "a"]).cmd("RPUSH").arg(&["list", "b"]);
        client.run_all(&many).await.unwrap();
        assert_eq!(server.number(&["LLEN", "list"]).await, 2);
        many.cmd("GET").arg("list");
        assert!(client.run_all(&many).await.unwrap_err().contains("WRONGTYPE"));
        assert!(client.used_memory().await.unwrap() > 0.0);
        assert!(server.set_clock(1).is_err());
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let info = "# CPU\r\nused_cpu_sys_children:9\r\nused_cpu_sys:1.25\r\n";
        assert_eq!(field(info, "used_cpu_sys"), Some(1.25));
        assert_eq!(field(info, "used_cpu_user"), None);
    }

    #[test]
    fn a_server_says_its_version() {
        let version = version_in("Redis server v=7.0.15 sha=0:0 malloc=x");
        assert_eq!(version.as_deref(), Some("7.0.15"));
        assert_eq!(version_in(""), None);
    }
}
