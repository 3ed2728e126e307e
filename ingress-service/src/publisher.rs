//! The publish loop: whatever piled up while the last batch was on its way goes with the next.

use std::sync::Arc;
use std::time::Duration;

use roundtrip::batch::Batches;
use roundtrip::broker::{BrokerErrorKind, EntryId};
use roundtrip::service::outage::broker_failed;
use roundtrip::service::retry::Delays;
use roundtrip::{Broker, BrokerError, Request};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::hangups::Hangup;
use crate::metrics::IngressMetrics;
use crate::pending::{Outcome, Pending};

/// The most requests of one call, where they are small. As many as wait by default: when Redis hangs, those behind the batch that
/// noticed it all go with the next one, and hear within a second.
pub(crate) const MAX_BATCH: usize = 1024;

/// How long a batch that definitely did not arrive is tried again. Short: a connection that was lost is
/// replaced within it, and the batch behind this one still hears within a second that the broker is away.
const RETRY_WINDOW: Duration = Duration::from_millis(300);

/// How long a server that is reading its data is waited for: it says itself when it is done, and nobody is
/// refused who has the time.
const LOADING_WINDOW: Duration = Duration::from_secs(10);

const FIRST_DELAY: Duration = Duration::from_millis(20);
const MAX_DELAY: Duration = Duration::from_millis(150);

/// Publishes until the last sender is gone and the queue is empty.
pub(crate) async fn run(
    broker: Arc<dyn Broker>,
    pending: Arc<Pending>,
    mut batches: Batches<Request>,
    hangups: Option<mpsc::Sender<Hangup>>,
    metrics: IngressMetrics,
) {
    let (mut batch, mut retries) = (Vec::with_capacity(MAX_BATCH), Retries::new());
    while batches.next(&mut batch).await {
        // Whoever has gone meanwhile wants no work done. Nobody was promised anything: that takes a request that is sent.
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
                    && let Some(hangups) = &hangups
                {
                    let _ = hangups.try_send((request.id, Some(entry)));
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

/// One line for each call that failed.
pub(crate) fn report(error: &BrokerError, count: usize) {
    broker_failed(error, &format!("requests were not published: {count}"));
}

/// When to try again what definitely had no effect: a repeated write is a second request. One window for all that is
/// tried while the broker takes nothing: who comes when it is over hears at once.
pub(crate) struct Retries {
    began: Option<Instant>,
    delays: Delays,
}

impl Retries {
    pub(crate) fn new() -> Self {
        Self {
            began: None,
            delays: Delays::new(FIRST_DELAY, MAX_DELAY),
        }
    }

    /// The broker took something.
    pub(crate) fn succeeded(&mut self) {
        if self.began.take().is_some() {
            self.delays.reset();
        }
    }

    /// Whether another try may help.
    pub(crate) fn may_help(&mut self, error: &BrokerError) -> bool {
        let window = match error.kind() {
            BrokerErrorKind::Unavailable => RETRY_WINDOW,
            BrokerErrorKind::Loading => LOADING_WINDOW,
            _ => return false,
        };
        self.began.get_or_insert_with(Instant::now).elapsed() < window
    }

    /// Waits before another try; gives the error back where there is none.
    pub(crate) async fn after(&mut self, error: BrokerError) -> Result<(), BrokerError> {
        let delay = self.delays.next().unwrap_or(MAX_DELAY);
        if !self.may_help(&error) {
            return Err(error);
        }
        sleep(delay).await;
        Ok(())
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
