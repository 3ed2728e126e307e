//! The reply loop: reads this instance's replies and wakes those who wait.

use std::sync::Arc;
use std::time::Duration;

use roundtrip::broker::ReplyStream;
use roundtrip::service::retry::Delays;
use roundtrip::service::telemetry::with_causes;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::metrics::IngressMetrics;
use crate::pending::{Outcome, Pending};

/// Pauses while the broker is away; the longest is hardly felt when it is back.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const MAX_PAUSE: Duration = Duration::from_millis(500);

/// Reads until `stop`, then removes the stream.
pub(crate) async fn run(
    mut replies: Box<dyn ReplyStream>,
    pending: Arc<Pending>,
    metrics: IngressMetrics,
    stop: CancellationToken,
) {
    let mut pauses = Delays::new(FIRST_PAUSE, MAX_PAUSE);
    while !stop.is_cancelled() {
        match replies.next().await {
            Ok(batch) => {
                pauses.reset();
                if !batch.is_empty() {
                    metrics.reply_batch.observe(batch.len() as f64);
                }
                for reply in batch {
                    let id = reply.id;
                    if !pending.complete(id, Outcome::Replied(reply.outcome)) {
                        metrics.late_replies.inc();
                        tracing::debug!(request_id = %id, "a reply came that nobody waits for");
                    }
                }
            }
            Err(error) => {
                let pause = pauses.next().unwrap_or(MAX_PAUSE);
                tracing::warn!(
                    error = with_causes(&error),
                    ?pause,
                    "reading replies again after a pause"
                );
                stop.run_until_cancelled(sleep(pause)).await;
            }
        }
    }
    if let Err(error) = replies.close().await {
        tracing::warn!(error = with_causes(&error), "the reply stream was not removed");
    }
}
