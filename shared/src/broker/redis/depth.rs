//! The depth of the queue. Entries are counted, as the group's own `lag` is wrong once some were deleted. One script
//! measures everything at one moment, and keeps the entries that XINFO shows with their data on the server.

use bytes::Bytes;
use tokio::time::Instant;

use super::GROUP;
use super::answers::Count;
use super::clock::ServerClock;
use super::counts::{DISCARDED, TERMINALS};
use super::keys::Keys;
use super::scripts;
use crate::broker::redis::connection::shared::Link;
use crate::broker::{BrokerError, Depth, Memory, Position, WORKER_SEEN_WITHIN};

/// What the script answers. What may be -1, or was counted by a hash that anybody may write, has a sign.
type Measured = (Count, i64, Count, i64, Count, Bytes, i64, Count, i64, Count, i64);

/// <https://redis.io/docs/latest/commands/xinfo-stream/>
pub(super) async fn depth(link: &Link, keys: &Keys, clock: &ServerClock) -> Result<Depth, BrokerError> {
    let mut commands = scripts::DEPTH.call(&[keys.requests(), keys.dead_letters(), keys.counts()]);
    commands.arg(GROUP).arg(DISCARDED);
    commands.arg(WORKER_SEEN_WITHIN.as_millis() as u64).arg(TERMINALS);
    let asked = Instant::now();
    let measured: Measured = link.run("measure the backlog", &commands).await?;
    let (Count(length), added, Count(claimed), oldest, Count(dead_letters), info, ..) = measured;
    let (.., discarded, Count(bytes), now, Count(workers), terminals) = measured;
    // What is not known is -1.
    let known = |number: i64| u64::try_from(number).ok();
    let now = known(now);
    if let Some(now) = now {
        clock.read(now, asked, Instant::now());
    }
    let age = |millis| clock.ages(now).of(Position { millis, sequence: 0 });
    Ok(Depth {
        waiting: length.saturating_sub(claimed),
        claimed,
        dead_letters,
        oldest_waiting: known(oldest).map(age),
        completed: known(added).map(|added| added.saturating_sub(length)),
        discarded: known(discarded).unwrap_or(0),
        bytes,
        memory: memory(&info),
        workers,
        terminals: known(terminals).unwrap_or(0),
    })
}

/// Reads INFO's section on memory. Buffers for replicas and the append-only file take memory, and the server does not
/// count them when it decides whether it is full.
/// <https://redis.io/docs/latest/commands/info/>
pub(super) fn memory(info: &[u8]) -> Option<Memory> {
    let text = std::str::from_utf8(info).ok()?;
    let value = |name: &str| {
        let mut values = text
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        values.next().map(str::trim)
    };
    let number = |name: &str| value(name)?.parse::<u64>().ok();
    let buffers = number("mem_not_counted_for_evict").unwrap_or(0);
    Some(Memory {
        used: number("used_memory")?.saturating_sub(buffers),
        max: number("maxmemory")?,
        evicts: value("maxmemory_policy").is_some_and(|policy| policy != "noeviction"),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_does_not_count_is_not_counted() {
        let info = "# Memory\r\nused_memory:900\r\nmaxmemory:1000\r\nmaxmemory_policy:noeviction\r\n\
                    mem_not_counted_for_evict:300\r\n";
        let read = memory(info.as_bytes()).unwrap();
        assert_eq!((read.used, read.max, read.evicts), (600, 1000, false));
        let info = "used_memory:1\r\nmaxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n";
        assert!(memory(info.as_bytes()).unwrap().evicts);
    }
}
