//! Clearing up after workers that cannot any more. Every worker does it: who is alive is all that is needed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use roundtrip::BrokerError;
use roundtrip::broker::{Consumer, Maintained, Purged, ResultStore};
use roundtrip::process::logging::with_causes;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::lease::jittered;
use crate::metrics::PoolMetrics;
use crate::served::Served;

/// How often. What is found here has waited for a mistake or a death already; and who is silent for three times as long
/// does not count as a worker.
const INTERVAL: Duration = Duration::from_secs(5);

/// The first time: it says that this worker is there, as soon as the group is.
const FIRST: Duration = Duration::from_millis(500);

/// A consumer silent for so many leases, and for so many rounds of this, is dead. Were it not, no harm is done:
/// the server makes it again with its next delivery.
const SILENT_LEASES: u32 = 2;
const SILENT_ROUNDS: u32 = 2;

/// Clears up until `stop`.
pub(crate) async fn run(
    served: Arc<[Served]>,
    records: Arc<dyn ResultStore>,
    consumer: Consumer,
    terminals: u32,
    lease: Duration,
    metrics: PoolMetrics,
    stop: CancellationToken,
) {
    let silent = (lease * SILENT_LEASES).max(INTERVAL * SILENT_ROUNDS);
    let mut pause = FIRST;
    while stop.run_until_cancelled(sleep(pause)).await.is_some() {
        pause = jittered(INTERVAL);
        join_all(served.iter().map(|one| maintain(one, &consumer, terminals, silent))).await;
        if let Err(error) = purge_expired(records.as_ref(), &metrics, &stop).await {
            tracing::debug!(error = with_causes(&error), "could not purge records");
        }
    }
}

async fn maintain(served: &Served, consumer: &Consumer, terminals: u32, silent: Duration) {
    match served.queue.maintain(consumer, terminals, silent).await {
        Ok(Maintained { consumers, rescued }) => {
            served.metrics.consumers_forgotten.inc_by(consumers);
            served.metrics.rescued.inc_by(rescued);
            if consumers + rescued > 0 {
                tracing::info!(consumers, rescued, "forgot dead consumers, brought entries back");
            }
        }
        Err(error) => tracing::debug!(error = with_causes(&error), "could not clear up"),
    }
}

/// Removes and ends what is over, some at a time, until there is nothing more.
async fn purge_expired(
    records: &dyn ResultStore,
    metrics: &PoolMetrics,
    stop: &CancellationToken,
) -> Result<(), BrokerError> {
    loop {
        let purged = records.purge_expired().await?;
        metrics.records_ended.inc_by(purged.ended as u64);
        if purged.ended > 0 {
            tracing::warn!(count = purged.ended, "ended records whose requests had got lost");
        }
        if purged == Purged::default() || stop.is_cancelled() {
            return Ok(());
        }
    }
}
