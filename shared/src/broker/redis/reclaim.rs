//! Finding what is delivered again: what others dropped, and what was ours and got lost on the way. Delivering it
//! is another step (`redeliver.rs`), and only that one counts: whoever runs a suspect alone must not count it
//! before its turn has come.

use std::collections::HashSet;
use std::time::Duration;

use redis::{Pipeline, Value};
use tokio::sync::Mutex;

use super::GROUP;
use super::codec;
use super::connection::Link;
use super::errors::{Sent, broker_error, server_code};
use super::keys::Keys;
use super::lease::{self, RELEASED};
use super::script::eval;
use crate::broker::{BrokerError, Consumer, Dropped, EntryId};

const RECLAIM: &str = "reclaim from the request stream";
const RECOVER: &str = "recover deliveries";

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
