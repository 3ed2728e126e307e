//! Clearing up after workers that cannot any more. Every worker does it: who is alive is all that is needed.

use std::sync::Arc;
use std::time::Duration;

use roundtrip::broker::{Consumer, Purged, ResultStore};
use roundtrip::process::logging::with_causes;
use roundtrip::{Broker, BrokerError};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::lease::jittered;
use crate::metrics::WorkerMetrics;

/// How often. What is found here has waited for a mistake or a death already; and who is silent for three times as long
/// does not count as a worker.
const INTERVAL: Duration = Duration::from_secs(5);

/// The first time: it says that this worker is there, as soon as the group is.
const FIRST: Duration = Duration::from_millis(500);

/// A consumer silent for so many leases, and for so many rounds of this, is dead. Were it not, no harm is done:
/// the server makes it again with its next delivery.
const SILENT_LEASES: u32 = 2;
const SILENT_ROUNDS: u32 = 2;

/// Tidies until `stop`.
pub(crate) async fn run(
    broker: Arc<dyn Broker>,
    records: Arc<dyn ResultStore>,
    consumer: Consumer,
    terminals: u32,
    lease: Duration,
    metrics: WorkerMetrics,
    stop: CancellationToken,
) {
    let silent = (lease * SILENT_LEASES).max(INTERVAL * SILENT_ROUNDS);
    let mut pause = FIRST;
    while stop.run_until_cancelled(sleep(pause)).await.is_some() {
        pause = jittered(INTERVAL);
        match broker.maintain(&consumer, terminals, silent).await {
            Ok(tidied) => {
                metrics.consumers_forgotten.inc_by(tidied.consumers);
                metrics.rescued.inc_by(tidied.rescued);
                if tidied.consumers + tidied.rescued > 0 {
                    let (consumers, rescued) = (tidied.consumers, tidied.rescued);
                    tracing::info!(consumers, rescued, "forgot dead consumers, brought entries back");
                }
            }
            Err(error) => tracing::debug!(error = with_causes(&error), "could not tidy up"),
        }
        if let Err(error) = sweep(records.as_ref(), &metrics, &stop).await {
            tracing::debug!(error = with_causes(&error), "could not sweep records");
        }
    }
}

/// Removes and ends what is over, some at a time, until there is nothing more.
async fn sweep(
    records: &dyn ResultStore,
    metrics: &WorkerMetrics,
    stop: &CancellationToken,
) -> Result<(), BrokerError> {
    loop {
        let swept = records.purge_expired().await?;
        metrics.records_ended.inc_by(swept.ended as u64);
        if swept.ended > 0 {
            tracing::warn!(count = swept.ended, "ended records whose requests had got lost");
        }
        if swept == Purged::default() || stop.is_cancelled() {
            return Ok(());
        }
    }
}
