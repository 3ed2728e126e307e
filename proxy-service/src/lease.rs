//! Leases: renew what we hold, and know when to look for what others dropped.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use roundtrip::broker::Consumer;
use roundtrip::observe::outage::broker_failed;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::served::Served;
use crate::terminals::Terminals;

/// How often dropped work is looked for. A fifth of jitter keeps a fleet from scanning in step.
const SCAN_INTERVAL: Duration = Duration::from_secs(1);

/// Renews the leases of what is in hand `every` so often, until `stop`.
pub(crate) async fn renew(
    served: Arc<[Served]>,
    consumer: Consumer,
    terminals: Arc<Terminals>,
    every: Duration,
    stop: CancellationToken,
) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        join_all(served.iter().map(|one| renew_one(one, &consumer, &terminals))).await;
    }
}

async fn renew_one(served: &Served, consumer: &Consumer, terminals: &Terminals) {
    let receipts = terminals.in_flight().receipts(served.operation);
    if receipts.is_empty() {
        return;
    }
    match served.queue.renew(consumer, &receipts).await {
        Ok(renewed) if renewed < receipts.len() => {
            // Settled a moment ago, or lost; a lost one settles nothing, so there is nothing to do.
            served.metrics.lost_leases.inc_by((receipts.len() - renewed) as u64);
            tracing::debug!(renewed, held = receipts.len(), "not all leases are ours any more");
        }
        Ok(_) => {}
        Err(error) => broker_failed(&error, "leases were not renewed"),
    }
}

/// When to look for dropped work again.
#[derive(Debug)]
pub(crate) struct ScanTimer {
    due: Instant,
}

impl ScanTimer {
    pub(crate) fn new() -> Self {
        Self {
            due: Instant::now() + jittered(SCAN_INTERVAL),
        }
    }

    /// Whether it is time; if so, the next time is set.
    pub(crate) fn is_due(&mut self) -> bool {
        let due = self.due <= Instant::now();
        if due {
            *self = Self::new();
        }
        due
    }
}

/// The duration, a fifth shorter to a fifth longer.
pub(crate) fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(0.8 + 0.4 * fastrand::f64())
}
