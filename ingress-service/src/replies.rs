//! The reply loop: reads this instance's replies and wakes those who wait. Late replies are stored as results, before
//! they are removed from the stream.

use std::sync::Arc;
use std::time::Duration;

use roundtrip::Reply;
use roundtrip::broker::{ReplyStream, ResultStore};
use roundtrip::observe::outage::broker_failed;
use roundtrip::process::logging::with_causes;
use roundtrip::resilience::backoff::Backoff;
use tokio_util::sync::CancellationToken;

use crate::metrics::IngressMetrics;
use crate::pending::{Outcome, Pending};

/// Pauses while the broker is away; the longest is hardly felt when it is back.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const MAX_PAUSE: Duration = Duration::from_millis(500);

/// Reads until `stop`, then removes the stream.
pub(crate) async fn run(
    mut replies: Box<dyn ReplyStream>,
    records: Arc<dyn ResultStore>,
    pending: Arc<Pending>,
    metrics: IngressMetrics,
    stop: CancellationToken,
) {
    let mut pauses = Backoff::new(FIRST_PAUSE, MAX_PAUSE);
    while !stop.is_cancelled() {
        match replies.next().await {
            Ok(batch) => {
                pauses.reset();
                if !batch.is_empty() {
                    metrics.reply_batch.observe(batch.len() as f64);
                }
                let late: Vec<Reply> = batch
                    .into_iter()
                    .filter_map(|reply| unclaimed(&pending, reply))
                    .collect();
                if !late.is_empty() {
                    metrics.late_replies.inc_by(late.len() as u64);
                    store(records.as_ref(), &late, &metrics, &stop).await;
                }
            }
            Err(error) => {
                broker_failed(&error, "reading replies again after a pause");
                pauses.pause(&stop).await;
            }
        }
    }
    if let Err(error) = replies.close().await {
        tracing::warn!(error = with_causes(&error), "the reply stream was not removed");
    }
}

/// Hands a reply to whoever waits for it; gives it back when nobody does.
fn unclaimed(pending: &Pending, reply: Reply) -> Option<Reply> {
    let Reply { id, origin, outcome } = reply;
    match pending.complete(id, Outcome::Replied(outcome))? {
        Outcome::Replied(outcome) => Some(Reply::new(id, origin, outcome)),
        Outcome::Unpublished(_) => None,
    }
}

/// Tries until it worked: the next read removes from the stream what was handed out. At the end, what is left there
/// is adopted.
async fn store(records: &dyn ResultStore, late: &[Reply], metrics: &IngressMetrics, stop: &CancellationToken) {
    let mut pauses = Backoff::new(FIRST_PAUSE, MAX_PAUSE);
    while !stop.is_cancelled() {
        match records.complete(late).await {
            Ok(stored) => {
                metrics.stored.inc_by(stored as u64);
                tracing::debug!(late = late.len(), stored, "replies came that nobody waited for");
                return;
            }
            Err(error) => {
                broker_failed(&error, "storing late replies again after a pause");
                pauses.pause(stop).await;
            }
        }
    }
}
