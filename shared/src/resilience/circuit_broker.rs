//! The circuit breaker around the broker: while it is open, callers hear at once that the broker is away.
//! Blocking reads pass it by: they reconnect at their own pace, and waiting is what they do.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use failsafe::failure_policy::consecutive_failures;

use crate::broker::{
    Acceptance, Accepted, Adoption, Broker, BrokerError, BrokerErrorKind, CancelOutcome, Changes, Consumer, Delivery,
    Depth, Dropped, EntryId, Maintained, Progress, Purged, Receipt, Record, ReplyStream, ResultStore, Role, Settlement,
    Shortcoming, Started, Status,
};
use crate::message::{Budget, CorrelationId, Reply, ReplyTo, Request};
use crate::resilience::breaker::{BROKER, Breaker, Rejection, Verdict};

/// Failures in a row before the breaker opens: one publish with its retries, so that the second caller to
/// meet a broker that is away does not wait for it.
const FAILURES: u32 = 3;

/// Short, because one probe a half second costs nothing and recovery should be felt within three.
const OPEN_TIME: Duration = Duration::from_millis(500);

/// A broker behind a circuit breaker.
#[derive(Debug)]
pub struct CircuitBroker<B: ?Sized> {
    breaker: Arc<Breaker>,
    /// What the breaker opens for: told to those who meet it open.
    last_failure: Arc<Mutex<Option<BrokerError>>>,
    broker: Arc<B>,
}

impl<B: ?Sized> CircuitBroker<B> {
    /// Guards `broker` with a breaker of its own.
    #[must_use]
    pub fn new(broker: Arc<B>) -> Self {
        let policy = consecutive_failures(FAILURES, std::iter::repeat(OPEN_TIME));
        Self {
            breaker: Arc::new(Breaker::new(BROKER, policy, 1)),
            last_failure: Arc::default(),
            broker,
        }
    }

    /// Guards something else on the same backend with the same breaker.
    #[must_use]
    pub fn beside<O: ?Sized>(&self, other: Arc<O>) -> CircuitBroker<O> {
        CircuitBroker {
            breaker: self.breaker.clone(),
            last_failure: self.last_failure.clone(),
            broker: other,
        }
    }

    /// The breaker, for health reports.
    #[must_use]
    pub fn breaker(&self) -> Arc<Breaker> {
        self.breaker.clone()
    }

    async fn guard<T>(&self, call: impl Future<Output = Result<T, BrokerError>>) -> Result<T, BrokerError> {
        let outcome = self.breaker.call(verdict, call).await;
        outcome.map_err(|refused| match refused {
            Rejection::Failed(error) => {
                if error.is_outage() {
                    *self.last_failure() = Some(error.clone());
                }
                error
            }
            Rejection::Open { .. } => {
                let (kind, operation) = (BrokerErrorKind::CircuitOpen, "reach the broker");
                match self.last_failure().clone() {
                    Some(last) => BrokerError::new(kind, operation, last),
                    None => BrokerError::new(kind, operation, "the circuit breaker is open after repeated failures"),
                }
            }
        })
    }

    fn last_failure(&self) -> MutexGuard<'_, Option<BrokerError>> {
        self.last_failure
            .lock()
            .expect("no code panics while it holds the failure")
    }
}

/// A refusal is an answer: whoever refuses is there.
fn verdict(error: &BrokerError) -> Verdict {
    match error.is_outage() {
        true => Verdict::Failed,
        false => Verdict::Well,
    }
}

#[async_trait]
impl<B: Broker + ?Sized> Broker for CircuitBroker<B> {
    async fn publish(&self, requests: &[Request]) -> Result<Vec<EntryId>, BrokerError> {
        self.guard(self.broker.publish(requests)).await
    }

    async fn prepare(&self) -> Result<bool, BrokerError> {
        self.guard(self.broker.prepare()).await
    }

    async fn claim(&self, consumer: &Consumer, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        self.broker.claim(consumer, max).await
    }

    async fn claim_due(&self, consumer: &Consumer, within: Duration, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        self.guard(self.broker.claim_due(consumer, within, max)).await
    }

    async fn recover(
        &self,
        consumer: &Consumer,
        held: &HashSet<EntryId>,
        max: usize,
    ) -> Result<Vec<Dropped>, BrokerError> {
        self.guard(self.broker.recover(consumer, held, max)).await
    }

    async fn reclaim(&self, consumer: &Consumer, idle: Duration, max: usize) -> Result<Vec<Dropped>, BrokerError> {
        self.guard(self.broker.reclaim(consumer, idle, max)).await
    }

    async fn redeliver(&self, consumer: &Consumer, attempts: &[(EntryId, u32)]) -> Result<Vec<Delivery>, BrokerError> {
        self.guard(self.broker.redeliver(consumer, attempts)).await
    }

    async fn renew(&self, consumer: &Consumer, receipts: &[Receipt]) -> Result<usize, BrokerError> {
        self.guard(self.broker.renew(consumer, receipts)).await
    }

    async fn release(&self, consumer: &Consumer, entries: &[EntryId]) -> Result<(), BrokerError> {
        self.guard(self.broker.release(consumer, entries)).await
    }

    async fn deregister(&self, consumer: &Consumer) -> Result<(), BrokerError> {
        self.guard(self.broker.deregister(consumer)).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<(), BrokerError> {
        self.guard(self.broker.settle(settlements)).await
    }

    async fn maintain(&self, consumer: &Consumer, terminals: u32, silent: Duration) -> Result<Maintained, BrokerError> {
        self.guard(self.broker.maintain(consumer, terminals, silent)).await
    }

    async fn heartbeat(&self, requester: &ReplyTo) -> Result<Adoption, BrokerError> {
        self.guard(self.broker.heartbeat(requester)).await
    }

    fn replies(&self, reply_to: &ReplyTo) -> Box<dyn ReplyStream> {
        self.broker.replies(reply_to)
    }

    async fn depth(&self) -> Result<Depth, BrokerError> {
        self.guard(self.broker.depth()).await
    }

    async fn shortcomings(&self, role: Role) -> Result<Vec<Shortcoming>, BrokerError> {
        self.guard(self.broker.shortcomings(role)).await
    }

    async fn ping(&self) -> Result<Duration, BrokerError> {
        self.guard(self.broker.ping()).await
    }
}
#[async_trait]
impl<B: ResultStore + ?Sized> ResultStore for CircuitBroker<B> {
    async fn submit(&self, requests: &[Acceptance]) -> Result<Vec<Result<Accepted, BrokerError>>, BrokerError> {
        // Each has an outcome of its own; where all of them are failures of the backend, so is the call.
        self.guard(async {
            let mut outcomes = self.broker.submit(requests).await?;
            let failed = |outcome: &Result<_, BrokerError>| outcome.as_ref().is_err_and(BrokerError::is_outage);
            match !outcomes.is_empty() && outcomes.iter().all(failed) {
                true => outcomes.swap_remove(0).map(|accepted| vec![Ok(accepted)]),
                false => Ok(outcomes),
            }
        })
        .await
    }

    async fn create(
        &self,
        id: CorrelationId,
        entry: Option<EntryId>,
        budget: Budget,
        requester: &ReplyTo,
    ) -> Result<(), BrokerError> {
        self.guard(self.broker.create(id, entry, budget, requester)).await
    }

    async fn start(&self, id: CorrelationId, attempt: u32) -> Result<Started, BrokerError> {
        self.guard(self.broker.start(id, attempt)).await
    }

    async fn note_progress(&self, id: CorrelationId, progress: &Progress) -> Result<(), BrokerError> {
        self.guard(self.broker.note_progress(id, progress)).await
    }

    async fn complete(&self, replies: &[Reply]) -> Result<usize, BrokerError> {
        self.guard(self.broker.complete(replies)).await
    }

    async fn store(&self, replies: &[Reply]) -> Result<(), BrokerError> {
        self.guard(self.broker.store(replies)).await
    }

    async fn records(&self, ids: &[CorrelationId]) -> Result<Vec<Option<Record>>, BrokerError> {
        self.guard(self.broker.records(ids)).await
    }

    async fn list(
        &self,
        status: Option<Status>,
        before: Option<CorrelationId>,
        max: usize,
    ) -> Result<Vec<Record>, BrokerError> {
        self.guard(self.broker.list(status, before, max)).await
    }

    async fn cancel(&self, id: CorrelationId, entry: Option<EntryId>) -> Result<CancelOutcome, BrokerError> {
        self.guard(self.broker.cancel(id, entry)).await
    }

    async fn cancelling(&self, ids: &[CorrelationId]) -> Result<Vec<CorrelationId>, BrokerError> {
        self.guard(self.broker.cancelling(ids)).await
    }

    async fn purge_expired(&self) -> Result<Purged, BrokerError> {
        self.guard(self.broker.purge_expired()).await
    }

    fn changes(&self) -> Box<dyn Changes> {
        self.broker.changes()
    }
}
