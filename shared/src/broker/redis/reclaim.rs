//! Deliveries after the first: what others dropped, and what was ours and got lost on the way. Finding an
//! entry and delivering it are two steps, and only the second counts: whoever runs a suspect alone must not
//! count it before its turn has come.

use std::collections::HashSet;
use std::time::Duration;

use redis::{Pipeline, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::GROUP;
use super::claim::{deliveries, is_stale, stale};
use super::codec;
use super::connection::Link;
use super::errors::{Sent, broker_error, server_code};
use super::keys::Keys;
use super::lease::{self, RELEASED};
use super::script::eval;
use crate::broker::{BrokerError, Consumer, Delivery, Dropped, EntryId};

const RECLAIM: &str = "reclaim from the request stream";
const RECOVER: &str = "recover deliveries";
const REDELIVER: &str = "deliver again from the request stream";

/// JUSTID takes entries over without counting a delivery; how often they were delivered is asked in the same
/// step. `pcall`, so that an older server's NOGROUP keeps its code.
const TAKE_OVER: &str = r"
local scan = redis.pcall('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], 'COUNT', ARGV[5], 'JUSTID')
if scan.err then return scan end
local found = {scan[1]}
for _, id in ipairs(scan[2]) do
  local held = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)
  if #held == 1 then
    found[#found + 1] = id
    found[#found + 1] = held[1][4]
  end
end
return found";

/// Only what is still its consumer's: between the two steps another may have taken it. An entry that is not
/// in the stream any more is acknowledged: Redis 6.2 answers nil for it, newer servers leave it out.
const DELIVER_AGAIN: &str = r"
local deleted, entries = 0, {}
for i = 3, #ARGV, 2 do
  local held = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)
  if held.err then return held end
  if #held == 1 and held[1][2] == ARGV[2] then
    local entry = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'RETRYCOUNT', ARGV[i + 1])[1]
    if entry and entry[2] then
      entries[#entries + 1] = entry
    else
      redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
      deleted = deleted + 1
    end
  end
end
return {redis.call('TIME'), deleted, entries}";

/// How far the search for dropped work has come: XAUTOCLAIM looks at a part of the pending list, and the
/// next scan goes on where this one ended. An empty scan is not the end.
#[derive(Debug, Default)]
pub(super) struct Scan(Mutex<EntryId>);

impl Scan {
    /// <https://redis.io/docs/latest/commands/xautoclaim/>
    pub(super) async fn reclaim(
        &self,
        link: &Link,
        keys: &Keys,
        consumer: &Consumer,
        idle: Duration,
        max: usize,
    ) -> Result<Vec<Dropped>, BrokerError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let mut cursor = self.0.lock().await;
        let mut commands = Pipeline::with_capacity(1);
        eval(&mut commands, TAKE_OVER, &[keys.requests()]);
        commands
            .arg(&[GROUP, consumer.as_str()])
            .arg(idle.as_millis() as u64)
            .arg(cursor.to_string())
            .arg(max);
        let Some(found) = unless_no_group(RECLAIM, link.try_run(RECLAIM, &commands).await?)? else {
            return Ok(Vec::new());
        };
        let mut found = only(found).into_iter();
        let next = found.next().and_then(codec::bulk);
        *cursor = next.and_then(|id| EntryId::parse(&id)).unwrap_or_default();
        Ok(dropped(found))
    }
}

/// Reads ids, each with how often it was delivered.
fn dropped(mut values: impl Iterator<Item = Value>) -> Vec<Dropped> {
    let mut all = Vec::new();
    while let (Some(id), Some(count)) = (values.next(), values.next()) {
        let entry = codec::bulk(id).and_then(|id| EntryId::parse(&id));
        let count = codec::number(&count).unwrap_or_default();
        all.extend(entry.map(|entry| Dropped {
            entry,
            deliveries: u32::try_from(count).unwrap_or(u32::MAX),
        }));
    }
    all
}

/// `XPENDING` for what this consumer was given, less what it holds and what it gave back.
/// <https://redis.io/docs/latest/commands/xpending/>
pub(super) async fn recover(
    link: &Link,
    keys: &Keys,
    consumer: &Consumer,
    held: &HashSet<EntryId>,
    max: usize,
) -> Result<Vec<Dropped>, BrokerError> {
    if max == 0 {
        return Ok(Vec::new());
    }
    let mut commands = Pipeline::with_capacity(1);
    commands
        .cmd("XPENDING")
        .arg(&[keys.requests(), GROUP, "-", "+"])
        .arg(held.len() + max)
        .arg(consumer.as_str());
    let Some(answer) = unless_no_group(RECOVER, link.try_run(RECOVER, &commands).await?)? else {
        return Ok(Vec::new());
    };
    let lost = lease::pending_rows(&answer)
        .filter(|row| row.idle < RELEASED && !held.contains(&row.entry))
        .map(|row| Dropped {
            entry: row.entry,
            deliveries: row.deliveries,
        });
    Ok(lost.take(max).collect())
}

/// <https://redis.io/docs/latest/commands/xclaim/>
pub(super) async fn redeliver(
    link: &Link,
    keys: &Keys,
    consumer: &Consumer,
    attempts: &[(EntryId, u32)],
) -> Result<Vec<Delivery>, BrokerError> {
    if attempts.is_empty() {
        return Ok(Vec::new());
    }
    let mut commands = Pipeline::with_capacity(1);
    eval(&mut commands, DELIVER_AGAIN, &[keys.requests()]);
    commands.arg(&[GROUP, consumer.as_str()]);
    for (entry, attempt) in attempts {
        commands.arg(entry.to_string()).arg(attempt);
    }
    let asked = Instant::now();
    let Some(answer) = unless_no_group(REDELIVER, link.try_run(REDELIVER, &commands).await?)? else {
        return Ok(Vec::new());
    };
    if is_stale(asked) {
        return Err(stale(REDELIVER));
    }
    let mut answer = only(answer).into_iter();
    let time = answer.next().as_ref().and_then(codec::server_millis);
    match answer.next().as_ref().and_then(codec::number) {
        None | Some(0) => {}
        Some(count) => tracing::warn!(count, "claimed entries had been deleted from the stream"),
    }
    let entries = codec::read_entries(answer.next().unwrap_or(Value::Nil));
    let counted = entries.into_iter().filter_map(|(id, fields)| {
        let (_, attempt) = attempts.iter().find(|(entry, _)| *entry == id)?;
        Some((id, *attempt, fields?))
    });
    Ok(deliveries(consumer, time, counted))
}

/// The items of a pipeline's one answer.
fn only(answer: Value) -> Vec<Value> {
    match answer {
        Value::Array(mut answers) => match answers.pop() {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// No stream or no group: nothing is pending.
fn unless_no_group(
    operation: &'static str,
    answer: Result<Value, redis::RedisError>,
) -> Result<Option<Value>, BrokerError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if server_code(&error).as_deref() == Some("NOGROUP") => Ok(None),
        Err(error) => Err(broker_error(operation, Sent::Maybe, error)),
    }
}
