//! The publish loop: whatever piled up while the last batch was on its way goes with the next.

use std::sync::Arc;

use roundtrip::batch::Batches;
use roundtrip::broker::EntryId;
use roundtrip::{Broker, BrokerError, Request};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::retries::{Retries, report};
use crate::disconnects::Disconnect;
use crate::metrics::IngressMetrics;
use crate::pending::{Outcome, Pending};

/// The most requests of one call, where they are small. As many as wait by default: when Redis hangs, those behind the
/// batch that noticed it all go with the next one, and hear within a second.
pub(crate) const MAX_BATCH: usize = 1024;

/// Publishes until the last sender is gone and the queue is empty.
pub(crate) async fn run(
    broker: Arc<dyn Broker>,
    pending: Arc<Pending>,
    mut batches: Batches<Request>,
    disconnects: Option<mpsc::Sender<Disconnect>>,
    metrics: IngressMetrics,
) {
    let (mut batch, mut retries) = (Vec::with_capacity(MAX_BATCH), Retries::new());
    while batches.next(&mut batch).await {
        // Whoever has gone meanwhile wants no work done. Nobody was promised anything: that takes a request that is
        // sent.
        batch.retain(|request: &Request| pending.send(request.id));
        if batch.is_empty() {
            continue;
        }
        metrics.publish_batch.observe(batch.len() as f64);
        let started = Instant::now();
        let published = publish(broker.as_ref(), &pending, &mut batch, &mut retries).await;
        metrics.publish.observe(started.elapsed().as_secs_f64());
        match published {
            Ok(entries) => batch.iter().zip(entries).for_each(|(request, entry)| {
                // Hung up while it was on its way.
                if !pending.published(request.id, entry)
                    && let Some(disconnects) = &disconnects
                {
                    let _ = disconnects.try_send((request.id, Some(entry)));
                }
            }),
            Err(error) => {
                report(&error, batch.len());
                for request in &batch {
                    pending.complete(request.id, Outcome::Unpublished(error.kind()));
                }
            }
        }
    }
}

async fn publish(
    broker: &dyn Broker,
    pending: &Pending,
    batch: &mut Vec<Request>,
    retries: &mut Retries,
) -> Result<Vec<EntryId>, BrokerError> {
    loop {
        match broker.publish(batch).await {
            Ok(entries) => {
                retries.succeeded();
                return Ok(entries);
            }
            Err(error) => {
                if !error.may_have_applied() {
                    batch.iter().for_each(|request| pending.requeue(request.id));
                }
                retries.after(error).await?;
            }
        }
        batch.retain(|request| pending.send(request.id));
    }
}
