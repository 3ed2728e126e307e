//! Waiting entries. A worker takes whatever waits, so a backlog cannot be held while load goes on; measured are
//! its three costs by themselves: adding to it, keeping it, and working it off.

use std::time::Duration;

use testbed::redis::{Client, Pipeline};
use tokio::time::{Instant, sleep};

use super::{Figures, compared};
use crate::cluster::{Cluster, Programs};
use crate::load::per;
use crate::results::Cost;

pub(super) const POINTS: [usize; 4] = [0, 10_000, 100_000, 1_000_000];
pub(super) const HEADING: &str = "entries waiting";
pub(super) const NOTE: &str = "With so many entries waiting, 50,000 more are added, in pipelines of 64; then one proxy \
    works all of them off. Their requester does not exist: its replies are thrown away every 20 ms.";
pub(super) const COSTS: [Cost; 4] = [
    compared("XADD, Redis CPU µs"),
    compared("memory, bytes/entry"),
    compared("drain, µs/entry"),
    compared("drain, CPU µs/entry"),
];

const REQUESTS: &str = "weather-requests";
const REPLIES: &str = "weather-responses:nobody";
const DEAD_LETTERS: &str = "weather-dead-letters";

/// Entries added with the backlog waiting: enough to tell a few per cent apart.
const ADDED: usize = 50_000;

/// Commands in one pipeline, as an ingress at 64 connections has at most.
const PIPELINE: usize = 64;

/// Entries at the beginning and at the end of a drain that do not count: the proxy starts, the batches run short.
const EDGE: u64 = 3000;

/// How often a drain is looked at: seldom enough not to be what is measured.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How long the proxy may take to work off less than [`EDGE`] entries.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) async fn measure(waiting: usize, programs: &Programs) -> Result<Figures, String> {
    let mut cluster = Cluster::redis(programs).await?;
    let mut client = cluster.redis.client().await?;
    let create = ["XGROUP", "CREATE", REQUESTS, "processing-group", "0", "MKSTREAM"];
    client.run::<()>(&create).await?;

    let memory_before = client.used_memory().await?;
    add(&mut client, waiting).await?;
    let cpu_before = cpu(&mut client).await?;
    add(&mut client, ADDED).await?;
    let adding = cpu(&mut client).await?.saturating_sub(cpu_before);
    let memory = client.used_memory().await? - memory_before;

    let total = (waiting + ADDED) as u64;
    cluster.add_proxy(&[]).await?;
    let begin = drained_to(&mut client, &cluster, total - EDGE).await?;
    let end = drained_to(&mut client, &cluster, EDGE).await?;
    let dead = client.run::<u64>(&["XLEN", DEAD_LETTERS]).await?;
    if dead > 0 {
        return Err(format!("{dead} entries became dead letters"));
    }
    let drained = begin.left.saturating_sub(end.left);
    Ok(vec![
        Some(per(adding, ADDED as u64)),
        Some(memory / total as f64),
        Some(per(end.at - begin.at, drained)),
        Some(per(end.cpu.saturating_sub(begin.cpu), drained)),
    ])
}

/// A moment of a drain.
struct Moment {
    at: Instant,
    /// Entries not settled yet.
    left: u64,
    /// CPU of proxy and Redis so far.
    cpu: Duration,
}

/// Waits until at most `left` entries are left.
async fn drained_to(client: &mut Client, cluster: &Cluster, left: u64) -> Result<Moment, String> {
    let (mut lowest, mut deadline) = (u64::MAX, Instant::now() + STALL_TIMEOUT);
    loop {
        let now_left = client.run::<u64>(&["XLEN", REQUESTS]).await?;
        if now_left <= left {
            return Ok(Moment {
                at: Instant::now(),
                left: now_left,
                cpu: cpu(client).await? + cluster.services_cpu()?,
            });
        }
        if now_left < lowest {
            (lowest, deadline) = (now_left, Instant::now() + STALL_TIMEOUT);
        }
        if Instant::now() > deadline {
            return Err(format!(
                "nothing was settled for {STALL_TIMEOUT:?}, {now_left} entries are left"
            ));
        }
        client.run::<()>(&["UNLINK", REPLIES]).await?;
        sleep(POLL_INTERVAL).await;
    }
}

/// CPU time of the server, to the microsecond: finer than /proc has it.
async fn cpu(client: &mut Client) -> Result<Duration, String> {
    let seconds = client.info("cpu", "used_cpu_user").await? + client.info("cpu", "used_cpu_sys").await?;
    Ok(Duration::from_secs_f64(seconds))
}

/// Adds entries as an ingress does.
async fn add(client: &mut Client, count: usize) -> Result<(), String> {
    let mut left = count;
    while left > 0 {
        let batch = left.min(PIPELINE);
        let mut commands = Pipeline::with_capacity(batch);
        for _ in 0..batch {
            commands.cmd("XADD").arg(&entry(&correlation_id()));
        }
        client.run_all(&commands).await?;
        left -= batch;
    }
    Ok(())
}

/// A request worth working on for an hour.
fn entry(correlation_id: &str) -> [&str; 12] {
    let data = r#"{"city":"New York","location":"Downtown"}"#;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    [
        REQUESTS,
        "*",
        "requestId",
        correlation_id,
        "replyTo",
        "nobody",
        "budgetMs",
        "3600000",
        "traceparent",
        trace,
        "data",
        data,
    ]
}

/// A random UUID.
fn correlation_id() -> String {
    // The version and variant bits of RFC 9562, section 5.4.
    let bits = fastrand::u128(..) & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let digits = format!("{bits:032x}");
    let parts = [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ];
    parts.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_correlation_id_is_a_random_uuid() {
        let id = correlation_id();
        let lengths: Vec<_> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(&id[14..15], "4");
        assert!("89ab".contains(&id[19..20]), "{id}");
        assert_ne!(id, correlation_id());
    }

    #[test]
    fn a_drain_has_a_middle_even_without_a_backlog() {
        assert!(ADDED as u64 > 10 * EDGE);
    }
}
