//! The redis-server of a scenario, and what is asked of it directly, past everything that is broken on purpose.

use std::time::Duration;

use redis::Value;
use testbed::RedisServer;
use testbed::redis::{Client, Settings, version};

/// The request stream, its group, the dead letters, and what reply streams' names begin with.
pub(crate) const REQUESTS: &str = "weather-requests";
pub(crate) const GROUP: &str = "processing-group";
pub(crate) const DEAD_LETTERS: &str = "weather-dead-letters";
const REQUESTERS: &str = "weather-requesters";
const REPLIES: &str = "weather-responses:*";

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

/// A server that keeps its data over a restart: every write is in its file before it is answered.
pub(crate) async fn start(special: &Special) -> Result<RedisServer, String> {
    let mut arguments = vec!["--appendonly", "yes", "--appendfsync", "always"];
    if special.debug && must_allow_debug().await? {
        arguments.extend(["--enable-debug-command", "local"]);
    }
    let clock = special.clock;
    RedisServer::start(Settings { arguments, clock }).await
}

/// Whether DEBUG has to be allowed. Before version 7 it always is, and the option is unknown.
async fn must_allow_debug() -> Result<bool, String> {
    let version = version().await?;
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    Ok(major.ok_or_else(|| format!("{version} is no version of redis"))? >= 7)
}

/// Settles a request as any worker has to: its reply, and the end of its delivery, in one step.
pub(crate) async fn settle(
    client: &mut Client,
    replies: &str,
    request: &str,
    data: &str,
    entry: &str,
) -> Result<(), String> {
    let mut step = redis::pipe();
    step.atomic();
    step.cmd("XADD").arg(&[replies, "NOMKSTREAM", "*"]);
    step.arg(&["requestId", request, "status", "ok", "data", data]);
    step.cmd("XACK").arg(&[REQUESTS, GROUP, entry]);
    step.cmd("XDEL").arg(&[REQUESTS, entry]);
    client.run_all(&step).await
}

/// What is in it now; a stream or a group that is not there is empty.
pub(crate) async fn contents(client: &mut Client) -> Result<Contents, String> {
    let mut contents = Contents {
        requests: client.run(&["XLEN", REQUESTS]).await?,
        reply_streams: client.run(&["KEYS", REPLIES]).await?,
        requesters: client.run(&["ZCARD", REQUESTERS]).await?,
        ..Contents::default()
    };
    // Fails where there is no group, which then holds nothing.
    if let Ok((pending, ..)) = client
        .run::<(u64, Value, Value, Value)>(&["XPENDING", REQUESTS, GROUP])
        .await
    {
        contents.pending = pending;
        let consumers: Vec<Value> = client.run(&["XINFO", "CONSUMERS", REQUESTS, GROUP]).await?;
        contents.consumers = consumers.iter().filter_map(consumer).collect();
    }
    Ok(contents)
}

/// The input of every dead letter.
pub(crate) async fn dead_letters(client: &mut Client) -> Result<Vec<String>, String> {
    let letters: Vec<(String, Vec<String>)> = client.run(&["XRANGE", DEAD_LETTERS, "-", "+"]).await?;
    let data = |(_, fields): &(String, Vec<String>)| {
        let mut pairs = fields.chunks_exact(2);
        pairs.find(|pair| pair[0] == "data").map(|pair| pair[1].clone())
    };
    Ok(letters.iter().map(|letter| data(letter).unwrap_or_default()).collect())
}

/// Name and idle time of one consumer, from a list of names and values.
fn consumer(value: &Value) -> Option<(String, Duration)> {
    let fields: std::collections::HashMap<String, Value> = redis::from_redis_value(value.clone()).ok()?;
    let name = redis::from_redis_value(fields.get("name")?.clone()).ok()?;
    let idle: u64 = redis::from_redis_value(fields.get("idle")?.clone()).ok()?;
    Some((name, Duration::from_millis(idle)))
}
