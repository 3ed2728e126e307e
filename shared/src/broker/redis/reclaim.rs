//! Claiming again: what others dropped, and what was ours and got lost on the way.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use redis::{Pipeline, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::claim::{before_time, deliveries, is_stale, stale};
use super::codec;
use super::connection::Link;
use super::errors::{Sent, broker_error, server_code};
use super::keys::Keys;
use super::{GROUP, lease};
use crate::broker::{BrokerError, Consumer, Delivery, EntryId};

const RECLAIM: &str = "reclaim from the request stream";
const RECOVER: &str = "recover deliveries";

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
    ) -> Result<Vec<Delivery>, BrokerError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let mut cursor = self.0.lock().await;
        let mut commands = Pipeline::with_capacity(2);
        commands
            .cmd("XAUTOCLAIM")
            .arg(&[keys.requests(), GROUP, consumer.as_str()])
            .arg(idle.as_millis() as u64)
            .arg(cursor.to_string())
            .arg("COUNT")
            .arg(max)
            .cmd("TIME");
        let asked = Instant::now();
        let Some(answer) = unless_no_group(RECLAIM, link.try_run(RECLAIM, &commands).await?)? else {
            return Ok(Vec::new());
        };
        if is_stale(asked) {
            return Err(stale(RECLAIM));
        }
        let (scan, time) = before_time(answer);
        let Value::Array(scan) = scan else {
            return Ok(Vec::new());
        };
        let mut scan = scan.into_iter();
        let next = scan.next().and_then(codec::bulk);
        *cursor = next.and_then(|id| EntryId::parse(&id)).unwrap_or_default();
        let entries = scan.next().unwrap_or(Value::Nil);
        if has_nil(&entries) {
            forget_deleted(link, keys, consumer).await?;
        }
        let entries = codec::read_entries(entries);
        let attempts = lease::attempts(link, keys, entries.iter().map(|(id, _)| *id)).await?;
        let counted = entries.into_iter().filter_map(|(id, fields)| {
            let attempt = attempts.get(&id).copied().unwrap_or(1);
            Some((id, attempt, fields?))
        });
        Ok(deliveries(consumer, time, counted))
    }
}

/// Newer servers drop entries that were deleted while pending by themselves; Redis 6.2 claims them and
/// answers nil, without saying which.
fn has_nil(entries: &Value) -> bool {
    matches!(entries, Value::Array(entries) if entries.contains(&Value::Nil))
}

/// Acknowledges what this consumer was given and is not in the stream any more.
pub(super) async fn forget_deleted(link: &Link, keys: &Keys, consumer: &Consumer) -> Result<(), BrokerError> {
    let mut commands = Pipeline::with_capacity(1);
    commands
        .cmd("XPENDING")
        .arg(&[keys.requests(), GROUP, "-", "+", "1000", consumer.as_str()]);
    let answer = link.run(RECLAIM, &commands).await?;
    let pending: Vec<EntryId> = lease::pending_rows(&answer).map(|(id, _)| id).collect();
    if pending.is_empty() {
        return Ok(());
    }
    let mut commands = Pipeline::with_capacity(pending.len());
    for id in &pending {
        commands
            .cmd("XRANGE")
            .arg(keys.requests())
            .arg(id.to_string())
            .arg(id.to_string());
    }
    let Value::Array(ranges) = link.run(RECLAIM, &commands).await? else {
        return Ok(());
    };
    let found = pending.into_iter().zip(ranges);
    let deleted = found.filter(|(_, range)| matches!(range, Value::Array(entries) if entries.is_empty()));
    acknowledge(link, keys, deleted.map(|(id, _)| id).collect()).await
}

/// `XPENDING` for what this consumer was given, then `XCLAIM` of that part which it does not hold.
/// <https://redis.io/docs/latest/commands/xpending/>
pub(super) async fn recover(
    link: &Link,
    keys: &Keys,
    consumer: &Consumer,
    held: &HashSet<EntryId>,
    max: usize,
) -> Result<Vec<Delivery>, BrokerError> {
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
    let lost: HashMap<EntryId, u32> = lease::pending_rows(&answer)
        .filter(|(id, _)| !held.contains(id))
        .take(max)
        .collect();
    if lost.is_empty() {
        return Ok(Vec::new());
    }
    let mut commands = Pipeline::with_capacity(2);
    commands
        .cmd("XCLAIM")
        .arg(&[keys.requests(), GROUP, consumer.as_str(), "0"]);
    for id in lost.keys() {
        commands.arg(id.to_string());
    }
    commands.cmd("TIME");
    let (entries, time) = before_time(link.run(RECOVER, &commands).await?);
    let mut entries = codec::read_entries(entries);
    // Newer servers leave deleted entries out, older ones answer nil.
    entries.retain(|(_, fields)| fields.is_some());
    let returned: HashSet<EntryId> = entries.iter().map(|(id, _)| *id).collect();
    let deleted = lost.keys().copied().filter(|id| !returned.contains(id));
    acknowledge(link, keys, deleted.collect()).await?;
    entries.sort_by_key(|(id, _)| *id);
    let counted = entries
        .into_iter()
        .filter_map(|(id, fields)| Some((id, lost.get(&id)? + 1, fields?)));
    Ok(deliveries(consumer, time, counted))
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

/// Deleted or trimmed under us: nothing is left to work on, and nothing to keep pending.
async fn acknowledge(link: &Link, keys: &Keys, deleted: Vec<EntryId>) -> Result<(), BrokerError> {
    if deleted.is_empty() {
        return Ok(());
    }
    tracing::warn!(
        count = deleted.len(),
        "claimed entries had been deleted from the stream"
    );
    lease::acknowledge(link, keys, &deleted).await
}
