//! The redis-server of a scenario, and what is asked of it directly, past everything that is broken on purpose.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, Value};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::process::Process;
use crate::programs::Programs;

/// How long a server may take to answer, loading included.
const START_TIMEOUT: Duration = Duration::from_secs(20);

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
    process: Process,
    starts: usize,
    /// Whether it is there, as far as anybody wants that.
    is_wanted: bool,
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
    pub(crate) async fn start(programs: &Programs, address: SocketAddr, directory: &Path) -> Result<Self, String> {
        let mut redis = Self {
            address,
            process: spawn(programs, address, directory, 0)?,
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
        self.process = spawn(programs, self.address, directory, self.starts)?;
        self.starts += 1;
        self.is_wanted = true;
        self.loaded().await
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

fn spawn(programs: &Programs, address: SocketAddr, directory: &Path, start: usize) -> Result<Process, String> {
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
        .arg(directory);
    Process::start(format!("redis-{start}"), command, directory)
}

/// A connection for questions.
#[derive(Clone)]
pub(crate) struct Client(MultiplexedConnection);

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self, String> {
        let client = redis::Client::open(format!("redis://{address}/")).map_err(failed)?;
        Ok(Self(client.get_multiplexed_async_connection().await.map_err(failed)?))
    }

    /// Runs one command.
    pub(crate) async fn run<T: FromRedisValue>(&mut self, words: &[&str]) -> Result<T, String> {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut self.0).await.map_err(failed)
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
        };
        let directory = tempfile::tempdir().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut redis = Redis::start(&programs, address, directory.path()).await.unwrap();
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
