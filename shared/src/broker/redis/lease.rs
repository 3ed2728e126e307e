//! Leases: the pending list knows who holds what, since when, and how often it was delivered.

use std::time::Duration;

use redis::{FromRedisValue, ParsingError, Value, from_redis_value};
use tokio::time::Instant;

use super::GROUP;
use super::answers::{Count, Last};
use super::clock::ServerClock;
use super::counts::TERMINALS;
use super::keys::Keys;
use super::scripts;
use crate::broker::redis::connection::shared::Link;
use crate::broker::{BrokerError, Consumer, Position};

/// An entry that claims to be idle for so long was given back: the next scan takes it, whatever its lease.
pub(super) const RELEASED: Duration = Duration::from_secs(24 * 60 * 60);

/// Idle for so long, and it was given back, although the server's clock may have been set since.
const MUST_BE_RELEASED: Duration = Duration::from_secs(12 * 60 * 60);

/// How many entries one script changes: each takes some 50 µs, and nobody else is served meanwhile.
const PART: usize = 256;

/// <https://redis.io/docs/latest/commands/xclaim/>
pub(super) async fn renew(
    link: &Link,
    keys: &Keys,
    clock: &ServerClock,
    consumer: &Consumer,
    entries: &[Position],
) -> Result<usize, BrokerError> {
    let (mut renewed, mut failed) = (0_usize, None);
    for part in entries.chunks(PART) {
        let mut commands = scripts::RENEW.call(&[keys.requests()]);
        commands.arg(GROUP).arg(consumer.as_str());
        for entry in part {
            commands.arg(entry.to_string());
        }
        let asked = Instant::now();
        match link.run("renew leases", &commands).await {
            Ok((Count(count), Count(time))) => {
                renewed += count as usize;
                clock.read(time, asked, Instant::now());
            }
            // The others are renewed all the same; a server that is away is not asked for each.
            Err(error) if failed.is_some() => return Err(error),
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(renewed), Err)
}

pub(super) async fn release(
    link: &Link,
    keys: &Keys,
    consumer: &Consumer,
    entries: &[Position],
) -> Result<(), BrokerError> {
    if entries.is_empty() {
        return Ok(());
    }
    let mut commands = scripts::RELEASE.call(&[keys.requests()]);
    commands.arg(GROUP).arg(consumer.as_str());
    commands.arg(RELEASED.as_millis() as u64);
    for entry in entries {
        commands.arg(entry.to_string());
    }
    link.run::<Count>("hand entries back", &commands).await.map(|_| ())
}

/// <https://redis.io/docs/latest/commands/xgroup-delconsumer/>
pub(super) async fn deregister(link: &Link, keys: &Keys, consumer: &Consumer) -> Result<(), BrokerError> {
    let mut from = "-".to_owned();
    loop {
        let mut commands = scripts::DEREGISTER.call(&[keys.requests(), keys.counts()]);
        commands.arg(GROUP).arg(consumer.as_str());
        commands
            .arg(RELEASED.as_millis() as u64)
            .arg(from)
            .arg(PART)
            .arg(TERMINALS);
        match link.run("leave the consumer group", &commands).await? {
            Last(Some(last)) => from = format!("({last}"),
            Last(None) => return Ok(()),
        }
    }
}

/// One row of the pending list.
pub(super) struct Pending {
    pub(super) entry: Position,
    pub(super) idle: Duration,
    pub(super) deliveries: u32,
}

impl Pending {
    pub(super) fn was_released(&self) -> bool {
        self.idle >= MUST_BE_RELEASED
    }
}

/// A row of XPENDING: `[id, consumer, idle, deliveries]`.
impl FromRedisValue for Pending {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let (entry, _, Count(idle), Count(deliveries)): (Position, Value, Count, Count) = from_redis_value(value)?;
        Ok(Self {
            entry,
            idle: Duration::from_millis(idle),
            deliveries: u32::try_from(deliveries).unwrap_or(u32::MAX),
        })
    }
}
