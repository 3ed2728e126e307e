//! Says, again and again, that this instance reads its replies; and adopts what dead instances left.

use std::sync::Arc;
use std::time::Duration;

use roundtrip::process::logging::with_causes;
use roundtrip::{Broker, BrokerError, ReplyTo};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::metrics::IngressMetrics;

/// Also how soon replies can be written again after somebody deleted everything.
const INTERVAL: Duration = Duration::from_secs(1);

/// Says so each second until `stop`.
pub(crate) async fn run(broker: Arc<dyn Broker>, reply_to: ReplyTo, metrics: IngressMetrics, stop: CancellationToken) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Err(error) = attend(broker.as_ref(), &reply_to, &metrics).await {
            tracing::debug!(error = with_causes(&error), "could not say that this instance is there");
        }
    }
}

async fn attend(broker: &dyn Broker, reply_to: &ReplyTo, metrics: &IngressMetrics) -> Result<(), BrokerError> {
    loop {
        let found = broker.heartbeat(reply_to).await?;
        metrics.streams_removed.inc_by(found.removed);
        metrics.adopted.inc_by(found.adopted);
        if found.removed > 0 {
            let (removed, adopted) = (found.removed, found.adopted);
            tracing::info!(removed, adopted, "adopted what instances left that are gone");
        }
        if !found.more {
            return Ok(());
        }
    }
}
