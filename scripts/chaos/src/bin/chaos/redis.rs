//! The redis-server of a scenario, and what is asked of it directly, past everything that is broken on purpose.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, FromRedisValue, Value};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::clock::Clock;
use crate::process::{Process, Signal};
use crate::programs::Programs;

/// How long a server may take to answer, loading included.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a command may take: some make it sleep.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// The request stream, its group, the dead letters, and what reply streams' names begin with.
pub(crate) const REQUESTS: &str = "weather-requests";
pub(crate) const GROUP: &str = "processing-group";
pub(crate) const DEAD_LETTERS: &str = "weather-dead-letters";
const REQUESTERS: &str = "weather-requesters";
const REPLIES: &str = "weather-responses:*";

/// A redis-server that keeps its data over a restart: every write is in its file before it is answered.
#[derive(Debug)]
pub(crate) struct Redis {
    pub(crate) address: SocketAddr,
    arguments: Vec<&'static str>,
    clock: Option<Clock>,
    process: Process,
    starts: usize,
    /// Whether it is there, as far as anybody wants that.
    is_wanted: bool,
}

/// What is special about a server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Special {
    /// Whether it does DEBUG SLEEP.
    pub(crate) debug: bool,
    /// Whether its clock can be set.
    pub(crate) clock: bool,
}

/// What Redis holds that should not last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) requests: u64,
    pub(crate) pending: u64,
    /// Consumers of the group by name, and how long each has asked for nothing.
    pub(crate) consumers: Vec<(String, Duration)>,
    pub(crate) reply_streams: Vec<String>,
    /// Requesters that are known to be there.
    pub(crate) requesters: usize,
}

impl Redis {
    pub(crate) async fn start(
        programs: &Programs,
        address: SocketAddr,
        directory: &Path,
        special: Special,
    ) -> Result<Self, String> {
        let clock = match special.clock {
            true => Some(Clock::make(directory).await?),
            false => None,
        };
        let arguments = match special.debug && must_allow_debug(programs).await? {
            true => vec!["--enable-debug-command", "local"],
            false => Vec::new(),
        };
        let command = command(programs, address, directory, &arguments, clock.as_ref());
        let mut redis = Self {
            address,
            arguments,
            process: Process::start("redis-0".to_owned(), command, directory)?,
            clock,
            starts: 1,
            is_wanted: true,
        };
        redis.loaded().await?;
        Ok(redis)
    }

    /// SIGKILL.
    pub(crate) async fn kill(&mut self) -> Result<(), String> {
        self.is_wanted = false;
        self.process.kill().await
    }

    /// How it ended by itself, if it has; told once.
    pub(crate) fn has_died(&mut self) -> Option<String> {
        let status = self.process.has_ended().filter(|_| self.is_wanted)?;
        self.is_wanted = false;
        Some(self.process.quoted(&format!("it ended by itself, with {status}")))
    }

    /// Starts it again on its data; returns when it has loaded them.
    pub(crate) async fn start_again(&mut self, programs: &Programs, directory: &Path) -> Result<(), String> {
        let command = command(programs, self.address, directory, &self.arguments, self.clock.as_ref());
        self.process = Process::start(format!("redis-{}", self.starts), command, directory)?;
        self.starts += 1;
        self.is_wanted = true;
        self.loaded().await
    }

    /// Sends a signal.
    pub(crate) async fn signal(&self, signal: Signal) -> Result<(), String> {
        self.process.signal(signal).await
    }

    /// Sets its clock so many seconds off.
    pub(crate) fn set_clock(&self, seconds: i64) -> Result<(), String> {
        let clock = self.clock.as_ref().ok_or("its clock cannot be set")?;
        clock.set(seconds)
    }

    async fn loaded(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Ok(mut client) = Client::connect(self.address).await
                && client.run::<Value>(&["PING"]).await.is_ok()
            {
                return Ok(());
            }
            if let Some(status) = self.process.has_ended() {
                return Err(self.process.quoted(&format!("it ended with {status}")));
            }
            if Instant::now() > deadline {
                return Err(self.process.quoted("it does not answer"));
            }
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Whether DEBUG has to be allowed. Before version 7 it always is, and the option is unknown.
async fn must_allow_debug(programs: &Programs) -> Result<bool, String> {
    let asked = Command::new(&programs.redis).arg("--version").output().await;
    let asked = asked.map_err(|error| format!("could not run {}: {error}", programs.redis))?;
    // As in "Redis server v=7.0.15 sha=…".
    let text = String::from_utf8_lossy(&asked.stdout).into_owned();
    let version = text
        .split_once("v=")
        .and_then(|(_, version)| version.split('.').next()?.parse::<u32>().ok());
    let version = version.ok_or_else(|| format!("could not read the version of {}: {text}", programs.redis))?;
    Ok(version >= 7)
}

fn command(
    programs: &Programs,
    address: SocketAddr,
    directory: &Path,
    arguments: &[&'static str],
    clock: Option<&Clock>,
) -> Command {
    let mut command = Command::new(&programs.redis);
    command
        .args([
            "--port",
            &address.port().to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
        ])
        .args(["--appendonly", "yes", "--appendfsync", "always", "--dir"])
        .arg(directory)
        .args(arguments);
    if let Some(clock) = clock {
        clock.give_to(&mut command);
    }
    command
}

/// A connection for questions.
#[derive(Clone)]
pub(crate) struct Client(MultiplexedConnection);

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self, String> {
        let client = redis::Client::open(format!("redis://{address}/")).map_err(failed)?;
        let patient = AsyncConnectionConfig::new().set_response_timeout(Some(ANSWER_TIMEOUT));
        let connection = client.get_multiplexed_async_connection_with_config(&patient).await;
        Ok(Self(connection.map_err(failed)?))
    }

    /// Runs one command.
    pub(crate) async fn run<T: FromRedisValue>(&mut self, words: &[&str]) -> Result<T, String> {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut self.0).await.map_err(failed)
    }

    /// Settles a request as any worker has to: its reply, and the end of its delivery, in one step.
    pub(crate) async fn settle(&mut self, replies: &str, request: &str, data: &str, entry: &str) -> Result<(), String> {
        let mut step = redis::pipe();
        step.atomic();
        step.cmd("XADD").arg(&[replies, "NOMKSTREAM", "*"]);
        step.arg(&["requestId", request, "status", "ok", "data", data]);
        step.cmd("XACK").arg(&[REQUESTS, GROUP, entry]);
        step.cmd("XDEL").arg(&[REQUESTS, entry]);
        step.query_async::<Value>(&mut self.0).await.map(|_| ()).map_err(failed)
    }

    /// What it uses of its maxmemory.
    pub(crate) async fn used_memory(&mut self) -> Result<u64, String> {
        let text: String = self.run(&["INFO", "memory"]).await?;
        let used = text
            .lines()
            .find_map(|line| line.strip_prefix("used_memory:")?.trim().parse().ok());
        used.ok_or_else(|| "redis does not say how much memory it uses".to_owned())
    }

    /// The time that it believes it is, since the Unix epoch.
    pub(crate) async fn time(&mut self) -> Result<Duration, String> {
        let (seconds, micros): (u64, u64) = self.run(&["TIME"]).await?;
        Ok(Duration::from_secs(seconds) + Duration::from_micros(micros))
    }

    /// What is in it now; a stream or a group that is not there is empty.
    pub(crate) async fn contents(&mut self) -> Result<Contents, String> {
        let mut contents = Contents {
            requests: self.run(&["XLEN", REQUESTS]).await?,
            reply_streams: self.run(&["KEYS", REPLIES]).await?,
            requesters: self.run(&["ZCARD", REQUESTERS]).await?,
            ..Contents::default()
        };
        // Fails where there is no group, which then holds nothing.
        if let Ok((pending, ..)) = self
            .run::<(u64, Value, Value, Value)>(&["XPENDING", REQUESTS, GROUP])
            .await
        {
            contents.pending = pending;
            let consumers: Vec<Value> = self.run(&["XINFO", "CONSUMERS", REQUESTS, GROUP]).await?;
            contents.consumers = consumers.iter().filter_map(consumer).collect();
        }
        Ok(contents)
    }

    /// The input of every dead letter.
    pub(crate) async fn dead_letters(&mut self) -> Result<Vec<String>, String> {
        let letters: Vec<(String, Vec<String>)> = self.run(&["XRANGE", DEAD_LETTERS, "-", "+"]).await?;
        let data = |(_, fields): &(String, Vec<String>)| {
            let mut pairs = fields.chunks_exact(2);
            pairs.find(|pair| pair[0] == "data").map(|pair| pair[1].clone())
        };
        Ok(letters.iter().map(|letter| data(letter).unwrap_or_default()).collect())
    }
}

fn failed(error: redis::RedisError) -> String {
    format!("could not ask redis: {error}")
}

/// Name and idle time of one consumer, from a list of names and values.
fn consumer(value: &Value) -> Option<(String, Duration)> {
    let fields: std::collections::HashMap<String, Value> = redis::from_redis_value(value.clone()).ok()?;
    let name = redis::from_redis_value(fields.get("name")?.clone()).ok()?;
    let idle: u64 = redis::from_redis_value(fields.get("idle")?.clone()).ok()?;
    Some((name, Duration::from_millis(idle)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use roundtrip::test_util::free_port;

    use super::*;
    use crate::process::Signal;

    #[tokio::test]
    async fn a_redis_that_ends_by_itself_is_told_once_and_one_that_was_killed_never() {
        let programs = Programs {
            ingress: "none".into(),
            worker: "none".into(),
            redis: std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned()),
            python: Err("nobody asked for it".to_owned()),
        };
        let directory = tempfile::tempdir().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut redis = Redis::start(&programs, address, directory.path(), Special::default())
            .await
            .unwrap();
        assert_eq!(redis.has_died(), None);
        redis.kill().await.unwrap();
        assert_eq!(redis.has_died(), None);
        redis.start_again(&programs, directory.path()).await.unwrap();
        redis.process.signal(Signal::Terminate).await.unwrap();
        redis.process.ended(START_TIMEOUT).await.unwrap();
        assert!(redis.has_died().unwrap().contains("it ended by itself"));
        assert_eq!(redis.has_died(), None);
    }
}
