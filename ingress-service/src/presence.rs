//! Says, again and again, that this instance reads its replies; and removes what dead instances left.

use std::sync::Arc;
use std::time::Duration;

use roundtrip::service::telemetry::with_causes;
use roundtrip::{Broker, ReplyTo};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::metrics::IngressMetrics;

/// Also how soon replies can be written again after somebody deleted everything.
const INTERVAL: Duration = Duration::from_secs(1);

/// Attends until `stop`.
pub(crate) async fn run(broker: Arc<dyn Broker>, reply_to: ReplyTo, metrics: IngressMetrics, stop: CancellationToken) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        match broker.attend(&reply_to).await {
            Ok(0) => {}
            Ok(gone) => {
                metrics.streams_removed.inc_by(gone as u64);
                tracing::info!(gone, "removed the reply streams of instances that are gone");
            }
            Err(error) => tracing::debug!(error = with_causes(&error), "could not say that this instance is there"),
        }
    }
}
