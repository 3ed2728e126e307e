//! Every key that is left in Redis, as it is. Nothing is left out: a name that nobody knows is a finding too.

mod rules;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use redis::Value;
use testbed::redis::Client;

use crate::redis::contents;

/// Keys that one answer of SCAN has, and that are read at the same time.
const AT_ONCE: usize = 500;

/// Who may have left something.
#[derive(Debug, Clone, Default)]
pub(crate) struct Guests {
    /// The run that all nonces belong to.
    pub(crate) run: u32,
    /// Ids of requests that callers were told to ask for.
    pub(crate) told: HashSet<String>,
    /// Whether callers left whose requests may have a record without their knowing.
    pub(crate) some_left: bool,
}

/// What Redis holds.
#[derive(Debug, Clone, Default)]
struct Keyspace {
    keys: HashMap<String, Key>,
    /// Who is in the group.
    consumers: HashSet<String>,
}

#[derive(Debug, Clone)]
struct Key {
    expires: bool,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    /// By its length.
    Stream(u64),
    /// Its members.
    Sorted(HashSet<String>),
    Hash(HashMap<String, String>),
    Text(String),
    /// Of a type that nobody uses.
    Other(String),
}

/// What is left that should not be, a sentence each.
pub(crate) async fn surplus(client: &mut Client, guests: &Guests) -> Result<Vec<String>, String> {
    let mut keyspace = read(client).await?;
    let consumers = contents(client).await?.consumers;
    keyspace.consumers = consumers.into_iter().map(|(name, _)| name).collect();
    Ok(rules::judge(&keyspace, guests))
}

/// <https://redis.io/docs/latest/commands/scan/>
async fn read(client: &mut Client) -> Result<Keyspace, String> {
    let (mut keyspace, mut cursor) = (Keyspace::default(), "0".to_owned());
    loop {
        let count = AT_ONCE.to_string();
        let (next, names): (String, Vec<String>) = client.run(&["SCAN", &cursor, "COUNT", &count]).await?;
        for name in names {
            if let Some(key) = read_key(client, &name).await? {
                keyspace.keys.insert(name, key);
            }
        }
        if next == "0" {
            return Ok(keyspace);
        }
        cursor = next;
    }
}

/// One key; `None` when it has gone since.
async fn read_key(client: &mut Client, name: &str) -> Result<Option<Key>, String> {
    let kind: String = client.run(&["TYPE", name]).await?;
    let content = match kind.as_str() {
        "none" => return Ok(None),
        "stream" => Content::Stream(client.run(&["XLEN", name]).await?),
        "zset" => Content::Sorted(client.run(&["ZRANGE", name, "0", "-1"]).await?),
        "string" => Content::Text(text(client.run(&["GET", name]).await?)),
        "hash" => {
            let pairs: HashMap<String, Value> = client.run(&["HGETALL", name]).await?;
            Content::Hash(pairs.into_iter().map(|(field, value)| (field, text(value))).collect())
        }
        _ => Content::Other(kind),
    };
    let left: i64 = client.run(&["PTTL", name]).await?;
    Ok(Some(Key {
        expires: left >= 0,
        content,
    }))
}

fn text(value: Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        _ => String::new(),
    }
}
