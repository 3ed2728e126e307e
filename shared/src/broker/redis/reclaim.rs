//! Finding deliveries to repeat: entries that others dropped, and entries of ours that got lost on the way.
//! `redeliver.rs` delivers them, and only that counts an attempt: a suspect that is to run alone must not be counted
//! before its turn has come.

use std::collections::HashSet;
use std::time::Duration;

use redis::{FromRedisValue, ParsingError, Pipeline, RedisError, Value, from_redis_value};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::GROUP;
use super::answers::{Count, Last, List};
use super::clock::ServerClock;
use super::errors::{Sent, broker_error, server_code};
use super::keys::Keys;
use super::lease::Pending;
use super::scripts;
use crate::broker::redis::connection::shared::Link;
use crate::broker::{BrokerError, Consumer, Dropped, EntryId, Position};

const RECLAIM: &str = "reclaim from the request stream";
const RECOVER: &str = "recover deliveries";

/// The most pending entries that one scan passes, about: what is at work lies before what was dropped, and each entry
/// takes a fraction of a microsecond.
const PASSED: usize = 2000;

/// How many entries one such script looks at, and one search for what got lost at least.
const PART: usize = 256;

/// How many such searches there are for one call.
const MAX_PARTS: usize = 1000;

/// How far the search for dropped work has come: a scan passes a part of the pending list, and the
/// next one goes on where it ended. An empty scan is not the end.
#[derive(Debug, Default)]
pub(super) struct Scan(Mutex<Position>);

impl Scan {
    /// <https://redis.io/docs/latest/commands/xautoclaim/>
    pub(super) async fn reclaim(
        &self,
        link: &Link,
        keys: &Keys,
        clock: &ServerClock,
        consumer: &Consumer,
        idle: Duration,
        max: usize,
    ) -> Result<Vec<Dropped>, BrokerError> {
        if clock.was_set_back() {
            level(link, keys).await?;
            clock.levelled();
        }
        if max == 0 || !clock.is_trusted() {
            return Ok(Vec::new());
        }
        let mut cursor = self.0.lock().await;
        let mut commands = scripts::RECLAIM.call(&[keys.requests()]);
        commands
            .arg(&[GROUP, consumer.as_str()])
            .arg(idle.as_millis() as u64)
            .arg(cursor.to_string())
            .arg(max);
        let (earliest, latest) = clock.expected();
        commands.arg(earliest).arg(latest).arg(PASSED);
        let asked = Instant::now();
        let found = link.try_run::<TakenOver>(RECLAIM, &commands).await?;
        let Some(found) = unless_no_group(RECLAIM, found)? else {
            return Ok(Vec::new());
        };
        clock.read(found.now, asked, Instant::now());
        *cursor = found.next;
        Ok(dropped(keys, found.dropped))
    }
}

async fn level(link: &Link, keys: &Keys) -> Result<(), BrokerError> {
    let mut from = "-".to_owned();
    loop {
        let mut commands = scripts::LEVEL.call(&[keys.requests()]);
        commands.arg(GROUP).arg(&from).arg(PART);
        match link.run("give entries from the future a lease", &commands).await? {
            Last(Some(last)) => from = format!("({last}"),
            Last(None) => return Ok(()),
        }
    }
}

/// What a scan found, and where the next one goes on.
struct TakenOver {
    now: u64,
    next: Position,
    dropped: Vec<(Position, u32)>,
}

impl FromRedisValue for TakenOver {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let List::<Value>(values) = from_redis_value(value)?;
        let mut values = values.into_iter();
        let mut next = || values.next().ok_or("the list is too short");
        let (Count(now), from) = (from_redis_value(next()?)?, from_redis_value(next()?)?);
        let mut dropped = Vec::with_capacity(values.len() / 2);
        while let Some(entry) = values.next() {
            let Count(deliveries) = from_redis_value(values.next().ok_or("an entry without a count")?)?;
            let deliveries = u32::try_from(deliveries).unwrap_or(u32::MAX);
            dropped.push((from_redis_value(entry)?, deliveries));
        }
        Ok(Self {
            now,
            next: from,
            dropped,
        })
    }
}

/// `XPENDING` for what this consumer was given, less what it holds and what it gave back.
/// <https://redis.io/docs/latest/commands/xpending/>
pub(super) async fn recover(
    link: &Link,
    keys: &Keys,
    consumer: &Consumer,
    held: &HashSet<Position>,
    max: usize,
) -> Result<Vec<Dropped>, BrokerError> {
    if max == 0 {
        return Ok(Vec::new());
    }
    let (mut lost, mut from) = (Vec::new(), "-".to_owned());
    // What was handed back stays its, and may be before all else.
    let count = (held.len() + max).max(PART);
    for _ in 0..MAX_PARTS {
        let mut commands = Pipeline::with_capacity(1);
        commands
            .cmd("XPENDING")
            .arg(&[keys.requests(), GROUP, from.as_str(), "+"])
            .arg(count)
            .arg(consumer.as_str());
        let rows = link.try_run::<List<Pending>>(RECOVER, &commands).await?;
        let Some(List(rows)) = unless_no_group(RECOVER, rows)? else {
            break;
        };
        let ours = rows
            .iter()
            .filter(|row| !row.was_released() && !held.contains(&row.entry));
        lost.extend(ours.map(|row| (row.entry, row.deliveries)));
        match rows.last() {
            Some(last) if rows.len() == count && lost.len() < max => from = format!("({}", last.entry),
            _ => break,
        }
    }
    lost.truncate(max);
    Ok(dropped(keys, lost))
}

fn dropped(keys: &Keys, entries: Vec<(Position, u32)>) -> Vec<Dropped> {
    let dropped = |(at, deliveries)| Dropped {
        entry: EntryId::of(keys.operation(), at),
        deliveries,
    };
    entries.into_iter().map(dropped).collect()
}

/// No stream or no group: nothing is pending.
fn unless_no_group<T>(operation: &'static str, answer: Result<T, RedisError>) -> Result<Option<T>, BrokerError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if server_code(&error).as_deref() == Some("NOGROUP") => Ok(None),
        Err(error) => Err(broker_error(operation, Sent::Maybe, error)),
    }
}
