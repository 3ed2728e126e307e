//! The circuit breaker around the broker: while it is open, callers hear at once that the broker is away.
//! Blocking reads pass it by: they reconnect at their own pace, and waiting is what they do.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use failsafe::failure_policy::consecutive_failures;

use crate::broker::{
    Acceptance, Accepted, Adoption, Broker, BrokerError, BrokerErrorKind, CancelOutcome, Changes, Consumer, Delivery,
    Depth, Dropped, EntryId, Maintained, NewRecord, Progress, Purged, Queue, Receipt, Record, RecordPage, ReplyStream,
    ResultStore, Role, Settlement, Shortcoming, Started,
};
use crate::message::{CorrelationId, Reply, ReplyTo, Request};
use crate::operation::OperationName;
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
    inner: Arc<B>,
}

impl<B: ?Sized> CircuitBroker<B> {
    /// Guards `broker` with a breaker of its own.
    #[must_use]
    pub fn new(broker: Arc<B>) -> Self {
        let policy = consecutive_failures(FAILURES, std::iter::repeat(OPEN_TIME));
        Self {
            breaker: Arc::new(Breaker::new(BROKER, policy, 1)),
            last_failure: Arc::default(),
            inner: broker,
        }
    }

    /// Guards something else on the same backend with the same breaker.
    #[must_use]
    pub fn beside<O: ?Sized>(&self, other: Arc<O>) -> CircuitBroker<O> {
        CircuitBroker {
            breaker: self.breaker.clone(),
            last_failure: self.last_failure.clone(),
            inner: other,
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

/// Implements a trait of the backend: each call that is listed goes through the breaker; what stands in braces passes
/// it by.
macro_rules! guarded {
    (
        $trait:ident: $($name:ident($($argument:ident: $type:ty),*) -> $returned:ty;)+
        { $($rest:tt)* }
    ) => {
        #[async_trait]
        impl<B: $trait + ?Sized> $trait for CircuitBroker<B> {
            $(async fn $name(&self, $($argument: $type),*) -> Result<$returned, BrokerError> {
                self.guard(self.inner.$name($($argument),*)).await
            })+

            $($rest)*
        }
    };
}

guarded! {
    Broker:
    publish(requests: &[Request]) -> Vec<EntryId>;
    settle(settlements: &[Settlement]) -> ();
    heartbeat(requester: &ReplyTo) -> Adoption;
    shortcomings(role: Role) -> Vec<Shortcoming>;
    ping() -> Duration;
    {
        fn queue(&self, operation: OperationName) -> Arc<dyn Queue> {
            Arc::new(self.beside(self.inner.queue(operation)))
        }

        fn replies(&self, reply_to: &ReplyTo) -> Box<dyn ReplyStream> {
            self.inner.replies(reply_to)
        }
    }
}

guarded! {
    Queue:
    prepare() -> bool;
    claim_due(consumer: &Consumer, within: Duration, max: usize) -> Vec<Delivery>;
    recover(consumer: &Consumer, held: &HashSet<EntryId>, max: usize) -> Vec<Dropped>;
    reclaim(consumer: &Consumer, idle: Duration, max: usize) -> Vec<Dropped>;
    redeliver(consumer: &Consumer, attempts: &[(EntryId, u32)]) -> Vec<Delivery>;
    renew(consumer: &Consumer, receipts: &[Receipt]) -> usize;
    release(consumer: &Consumer, entries: &[EntryId]) -> ();
    deregister(consumer: &Consumer) -> ();
    maintain(consumer: &Consumer, terminals: u32, silent: Duration) -> Maintained;
    depth() -> Depth;
    {
        async fn claim(&self, consumer: &Consumer, max: usize) -> Result<Vec<Delivery>, BrokerError> {
            self.inner.claim(consumer, max).await
        }
    }
}

guarded! {
    ResultStore:
    create(record: &NewRecord<'_>) -> ();
    start(id: CorrelationId, attempt: u32) -> Started;
    note_progress(id: CorrelationId, progress: &Progress) -> ();
    complete(replies: &[Reply]) -> usize;
    store(replies: &[Reply]) -> ();
    records(ids: &[CorrelationId]) -> Vec<Option<Record>>;
    list(page: &RecordPage<'_>) -> Vec<Record>;
    cancel(id: CorrelationId, entry: Option<EntryId>) -> CancelOutcome;
    cancelling(ids: &[CorrelationId]) -> Vec<CorrelationId>;
    purge_expired() -> Purged;
    {
        async fn submit(&self, requests: &[Acceptance]) -> Result<Vec<Result<Accepted, BrokerError>>, BrokerError> {
            // Each has an outcome of its own; where all of them are failures of the backend, so is the call.
            self.guard(async {
                let mut outcomes = self.inner.submit(requests).await?;
                let failed = |outcome: &Result<_, BrokerError>| outcome.as_ref().is_err_and(BrokerError::is_outage);
                match !outcomes.is_empty() && outcomes.iter().all(failed) {
                    true => outcomes.swap_remove(0).map(|accepted| vec![Ok(accepted)]),
                    false => Ok(outcomes),
                }
            })
            .await
        }

        fn changes(&self) -> Box<dyn Changes> {
            self.inner.changes()
        }
    }
}
