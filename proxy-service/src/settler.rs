//! The settle loop: whatever piled up goes in one call, again and again until the broker took it.

use std::sync::Arc;
use std::time::Duration;

use roundtrip::Broker;
use roundtrip::batch::Batches;
use roundtrip::broker::{BrokerErrorKind, Settlement};
use roundtrip::service::retry::Delays;
use roundtrip::service::telemetry::with_causes;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::metrics::WorkerMetrics;
use crate::terminals::Terminals;

/// The most settlements of one call, where they are small; bounds the time of one transaction.
pub(crate) const MAX_BATCH: usize = 256;

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const MAX_PAUSE: Duration = Duration::from_millis(500);

/// Settles until the last sender is gone and the queue is empty. After `give_up`, a batch the broker does
/// not take is left to its leases.
pub(crate) async fn run(
    broker: Arc<dyn Broker>,
    terminals: Arc<Terminals>,
    mut batches: Batches<Settlement>,
    metrics: WorkerMetrics,
    give_up: CancellationToken,
) {
    let mut batch = Vec::with_capacity(MAX_BATCH);
    while batches.next(&mut batch).await {
        metrics.settle_batch.observe(batch.len() as f64);
        let started = Instant::now();
        settle(broker.as_ref(), &batch, &give_up).await;
        metrics.settle.observe(started.elapsed().as_secs_f64());
        terminals.held().remove(&batch);
    }
}

async fn settle(broker: &dyn Broker, batch: &[Settlement], give_up: &CancellationToken) {
    let mut pauses = Delays::new(FIRST_PAUSE, MAX_PAUSE);
    while let Err(error) = broker.settle(batch).await {
        if matches!(error.kind(), BrokerErrorKind::Rejected | BrokerErrorKind::GroupLost) || give_up.is_cancelled() {
            tracing::error!(
                error = with_causes(&error),
                count = batch.len(),
                "could not settle; the work will be done again"
            );
            return;
        }
        let pause = pauses.next().unwrap_or(MAX_PAUSE);
        tracing::warn!(error = with_causes(&error), count = batch.len(), "settling again");
        give_up.run_until_cancelled(sleep(pause)).await;
    }
}
