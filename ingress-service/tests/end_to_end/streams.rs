//! What is in Redis, as redis-cli would show it.

use redis::{Value, from_redis_value};
use testbed::RedisServer;

pub(crate) const REQUESTS: &str = "weather-requests";
pub(crate) const DEAD_LETTERS: &str = "weather-dead-letters";
pub(crate) const GROUP: &str = "processing-group";

/// A stream entry's fields, in order.
pub(crate) type Fields = Vec<(String, String)>;

async fn ask(redis: &RedisServer, words: &[&str]) -> Value {
    let answer = redis.command(words).await;
    answer.unwrap_or_else(|| panic!("{words:?} failed"))
}

/// How many entries are delivered and not acknowledged.
pub(crate) async fn pending(redis: &RedisServer) -> i64 {
    match ask(redis, &["XPENDING", REQUESTS, GROUP]).await {
        Value::Array(summary) => from_redis_value(summary.into_iter().next().unwrap()).unwrap(),
        other => panic!("XPENDING answered {other:?}"),
    }
}

/// The consumers of the group, by name.
pub(crate) async fn consumers(redis: &RedisServer) -> Vec<String> {
    let Value::Array(rows) = ask(redis, &["XINFO", "CONSUMERS", REQUESTS, GROUP]).await else {
        panic!("XINFO answers with a list");
    };
    let name = |row| match row {
        Value::Array(items) => from_redis_value(items.into_iter().nth(1).unwrap()).unwrap(),
        other => panic!("XINFO answered {other:?}"),
    };
    rows.into_iter().map(name).collect()
}

/// The keys of the reply streams there are.
pub(crate) async fn reply_keys(redis: &RedisServer) -> Vec<String> {
    from_redis_value(ask(redis, &["KEYS", "weather-responses:*"]).await).unwrap()
}

/// How many replies are in all reply streams together.
pub(crate) async fn replies(redis: &RedisServer) -> i64 {
    let mut sum = 0;
    for key in reply_keys(redis).await {
        sum += redis.number(&["XLEN", &key]).await;
    }
    sum
}

/// The entries of a stream.
pub(crate) async fn entries(redis: &RedisServer, key: &str) -> Vec<Fields> {
    let entries: Vec<(String, Fields)> = from_redis_value(ask(redis, &["XRANGE", key, "-", "+"]).await).unwrap();
    entries.into_iter().map(|(_, fields)| fields).collect()
}

/// Appends an entry.
pub(crate) async fn add(redis: &RedisServer, key: &str, fields: &[(&str, &str)]) {
    let mut words = vec!["XADD", key, "*"];
    words.extend(fields.iter().flat_map(|(name, value)| [*name, *value]));
    ask(redis, &words).await;
}

/// A field's value; empty when there is no such field.
pub(crate) fn field<'a>(fields: &'a Fields, name: &str) -> &'a str {
    let found = fields.iter().find(|(key, _)| key == name);
    found.map_or("", |(_, value)| value)
}
