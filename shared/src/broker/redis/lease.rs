//! Leases: the pending list knows who holds what, since when, and how often it was delivered.

use std::collections::HashMap;

use redis::{Pipeline, Value};

use super::GROUP;
use super::codec;
use super::connection::Link;
use super::keys::Keys;
use crate::broker::{BrokerError, Consumer, EntryId, Receipt};

/// XCLAIM does not ask whose entry it is: without the check, a worker that was frozen for longer than its
/// lease would take its work back from the one who took it over.
const RENEW: &str = r"
local renewed = 0
for i = 3, #ARGV do
  local held = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)
  if #held == 1 and held[1][2] == ARGV[2] then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')
    renewed = renewed + 1
  end
end
return renewed";

/// Hands back by aging: an entry that claims to be idle for a day is taken at the next scan.
/// DELCONSUMER would discard what is still pending, so it runs only when nothing is.
const LEAVE: &str = r"
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local held = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 100000, ARGV[2])
for _, entry in ipairs(held) do
  redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, entry[1], 'IDLE', 86400000, 'JUSTID')
end
if #held == 0 then redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2]) end
return #held";

/// <https://redis.io/docs/latest/commands/xclaim/>
pub(super) async fn renew(
    link: &Link,
    keys: &Keys,
    consumer: &Consumer,
    receipts: &[Receipt],
) -> Result<usize, BrokerError> {
    if receipts.is_empty() {
        return Ok(0);
    }
    let mut commands = Pipeline::with_capacity(1);
    eval(&mut commands, RENEW, &[keys.requests()]);
    commands.arg(GROUP).arg(consumer.as_str());
    for receipt in receipts {
        commands.arg(receipt.entry.to_string());
    }
    let renewed = link.run("renew leases", &commands).await?;
    Ok(first(&renewed).and_then(codec::number).unwrap_or(0) as usize)
}

/// <https://redis.io/docs/latest/commands/xgroup-delconsumer/>
pub(super) async fn leave(link: &Link, keys: &Keys, consumer: &Consumer) -> Result<(), BrokerError> {
    let mut commands = Pipeline::with_capacity(1);
    eval(&mut commands, LEAVE, &[keys.requests()]);
    commands.arg(GROUP).arg(consumer.as_str());
    link.run("leave the consumer group", &commands).await.map(|_| ())
}

/// How often each entry was delivered.
/// <https://redis.io/docs/latest/commands/xpending/>
pub(super) async fn attempts(
    link: &Link,
    keys: &Keys,
    ids: impl ExactSizeIterator<Item = EntryId>,
) -> Result<HashMap<EntryId, u32>, BrokerError> {
    if ids.len() == 0 {
        return Ok(HashMap::new());
    }
    let mut commands = Pipeline::with_capacity(ids.len());
    for id in ids {
        let id = id.to_string();
        commands.cmd("XPENDING").arg(&[keys.requests(), GROUP, &id, &id, "1"]);
    }
    let answer = link.run("count attempts", &commands).await?;
    let Value::Array(answers) = answer else {
        return Ok(HashMap::new());
    };
    Ok(answers.iter().flat_map(rows).collect())
}

/// The rows of a pipeline with one XPENDING: entries and how often each was delivered.
pub(super) fn pending_rows(answer: &Value) -> impl Iterator<Item = (EntryId, u32)> {
    first(answer).into_iter().flat_map(rows)
}

/// Reads `[[id, consumer, idle, deliveries], …]`.
fn rows(answer: &Value) -> impl Iterator<Item = (EntryId, u32)> {
    let rows = match answer {
        Value::Array(rows) => rows.as_slice(),
        _ => &[],
    };
    rows.iter().filter_map(|row| {
        let (Value::Array(columns), Value::BulkString(id)) = (row, first(row)?) else {
            return None;
        };
        let count = columns.get(3).and_then(codec::number)?;
        Some((EntryId::parse(id)?, u32::try_from(count).unwrap_or(u32::MAX)))
    })
}

fn first(answer: &Value) -> Option<&Value> {
    match answer {
        Value::Array(items) => items.first(),
        _ => None,
    }
}

/// Removes entries from the pending list that no longer exist in the stream.
pub(super) async fn acknowledge(link: &Link, keys: &Keys, ids: &[EntryId]) -> Result<(), BrokerError> {
    let mut commands = Pipeline::with_capacity(1);
    commands.cmd("XACK").arg(keys.requests()).arg(GROUP);
    for id in ids {
        commands.arg(id.to_string());
    }
    link.run("acknowledge deleted entries", &commands).await.map(|_| ())
}

/// Adds one call of a script to a pipeline; its arguments follow. The source is sent each time: scripts are
/// for rare calls, and a server that lost its script cache then needs no second attempt.
pub(super) fn eval(commands: &mut Pipeline, script: &str, keys: &[&str]) {
    commands.cmd("EVAL").arg(script).arg(keys.len()).arg(keys);
}
