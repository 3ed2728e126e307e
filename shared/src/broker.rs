//! The seam: what a durable request/reply transport does, whichever backend does it.
//! The one rule: a request is acknowledged in the same step that makes its reply readable, never before.

pub mod memory;
pub mod redis;

mod dead_letters;
mod delivery;
mod depth;
mod durability;
mod error;
mod result_store;
mod settlement;
mod url;

#[cfg(any(test, feature = "test-util"))]
pub mod conformance;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::message::{Reply, ReplyTo, Request};
use crate::operation::OperationName;

pub use dead_letters::{DeadLetters, LetterId, Replayed, StoredLetter};
pub use delivery::{Consumer, Delivery, Dropped, EntryId, Malformed, Position, Receipt};
pub use depth::{Adoption, Depth, Maintained, Memory, Role, Shortcoming};
pub use durability::Durability;
pub use error::{BrokerError, BrokerErrorKind};
pub use result_store::{
    Acceptance, Accepted, CancelOutcome, Change, Changes, IdempotencyKey, NewRecord, Noted, Progress, Purged, Record,
    RecordPage, ResultStore, Retention, Started, Status,
};
pub use settlement::{DeadLetter, Settlement};
pub use url::{BrokerUrl, InvalidBrokerUrl};

/// How long [`Queue::claim`] and [`ReplyStream::next`] wait for something to arrive. Long enough that an
/// idle instance costs nothing, short enough that shutdown, and the search for dropped work that takes turns
/// with claiming, never wait noticeably.
pub const MAX_WAIT: Duration = Duration::from_millis(500);

/// How long ago a worker gave its last sign of life, at most, where it counts among those that are there. Each gives
/// one every 5 seconds, with [`Queue::maintain`].
pub const WORKER_SEEN_WITHIN: Duration = Duration::from_secs(15);

/// How long a requester may be silent before its replies are removed. Longer than a slow start or a short
/// partition, and short enough that what a crash leaves is gone within a minute.
pub const ABSENCE: Duration = Duration::from_secs(45);

/// A durable request/reply transport of any number of operations. Every call moves a batch; an empty batch does
/// nothing.
///
/// Calls do not retry: an error says whether the call may have taken effect
/// ([`BrokerError::may_have_applied`]), and the caller decides.
#[async_trait]
pub trait Broker: fmt::Debug + Send + Sync + 'static {
    /// The queue of an operation. Asked for once: it remembers what its consumers do.
    fn queue(&self, operation: OperationName) -> Arc<dyn Queue>;

    /// Appends requests to the queues of their operations, in order, all or none; durable at the configured tier when
    /// it returns. Returns their places.
    async fn publish(&self, requests: &[Request]) -> Result<Vec<EntryId>, BrokerError>;

    /// Makes replies readable, then removes their requests, atomically. Safe to repeat after an error:
    /// a delivery that is already settled, or that another consumer took over, is left alone.
    async fn settle(&self, settlements: &[Settlement]) -> Result<(), BrokerError>;

    /// Says that a requester is alive, and makes the place for its replies where that is missing: a reply to a
    /// requester without one goes to its record, or nowhere. Adopts what requesters left behind that said nothing for
    /// [`ABSENCE`], and went on saying nothing for some more calls: their replies become results, some at a time. To be
    /// called about once a second, and at once where more is left.
    async fn heartbeat(&self, requester: &ReplyTo) -> Result<Adoption, BrokerError>;

    /// The replies for one requester, from the first that is still there.
    fn replies(&self, reply_to: &ReplyTo) -> Box<dyn ReplyStream>;

    /// Asks what the backend lacks or refuses that a service of this role needs; nothing, where all is well. What is
    /// asked for has no effect.
    async fn shortcomings(&self, role: Role) -> Result<Vec<Shortcoming>, BrokerError>;

    /// Asks whether the backend answers; returns the time it took.
    async fn ping(&self) -> Result<Duration, BrokerError>;
}

/// The requests of one operation, as those see it who work on them. Calls do not retry, as those of [`Broker`].
#[async_trait]
pub trait Queue: fmt::Debug + Send + Sync + 'static {
    /// Makes what claiming needs, where it is missing: at the start, and after
    /// [`BrokerErrorKind::GroupLost`]. Whatever waits is served from its beginning. Returns whether
    /// anything was missing.
    async fn prepare(&self) -> Result<bool, BrokerError>;

    /// New deliveries for `consumer`, oldest first, at most `max`. Waits up to [`MAX_WAIT`] for the first
    /// one and returns an empty batch when there was none. A claim that is dropped may lose its deliveries
    /// to nobody: await it to the end, and after an error ask [`Queue::recover`].
    async fn claim(&self, consumer: &Consumer, max: usize) -> Result<Vec<Delivery>, BrokerError>;

    /// New deliveries, as [`Queue::claim`], but only those that are about to expire: from the oldest on, as
    /// long as no more than `within` is left of their budgets. Does not wait. For a worker that may not work
    /// now, and still has to tell those who wait.
    async fn claim_due(&self, consumer: &Consumer, within: Duration, max: usize) -> Result<Vec<Delivery>, BrokerError>;

    /// What this consumer was given and never saw, because a call failed halfway: its entries less those
    /// it says it holds, and those it handed back, at most `max`, oldest first. For [`Queue::redeliver`].
    async fn recover(
        &self,
        consumer: &Consumer,
        held: &HashSet<EntryId>,
        max: usize,
    ) -> Result<Vec<Dropped>, BrokerError>;

    /// Takes over entries that nobody renewed for `idle`, at most `max`. Not counted as a delivery: that is
    /// for [`Queue::redeliver`], so that nothing is blamed for what it only lay beside.
    async fn reclaim(&self, consumer: &Consumer, idle: Duration, max: usize) -> Result<Vec<Dropped>, BrokerError>;

    /// Delivers entries that `consumer` recovered or reclaimed, each as the attempt it is given with, and
    /// counts it as such. Leaves out what is not `consumer`'s any more, and what was deleted.
    async fn redeliver(&self, consumer: &Consumer, attempts: &[(EntryId, u32)]) -> Result<Vec<Delivery>, BrokerError>;

    /// Renews the leases that `consumer` still owns and returns how many these were; the others are lost
    /// to another consumer or settled already.
    async fn renew(&self, consumer: &Consumer, receipts: &[Receipt]) -> Result<usize, BrokerError>;

    /// Hands entries that `consumer` owns to whoever reclaims next, without waiting for a lease to run out.
    async fn release(&self, consumer: &Consumer, entries: &[EntryId]) -> Result<(), BrokerError>;

    /// Hands back everything `consumer` still holds; a consumer that holds nothing is forgotten. Being
    /// handed back is no sign of poison, so from the second delivery on it takes one off the count.
    async fn deregister(&self, consumer: &Consumer) -> Result<(), BrokerError>;

    /// Says that a consumer with so many terminals is there, and clears up after others: forgets consumers that hold
    /// nothing and were silent for `silent`, and brings back entries that are in nobody's hands and that no claim would
    /// find. Those are `consumer`'s to reclaim at once.
    async fn maintain(&self, consumer: &Consumer, terminals: u32, silent: Duration) -> Result<Maintained, BrokerError>;

    /// How much is waiting, and for how long.
    async fn depth(&self) -> Result<Depth, BrokerError>;
}

/// The replies for one requester, in order. A reply is removed only after it was handed out, so a lost
/// connection repeats replies rather than losing them.
#[async_trait]
pub trait ReplyStream: Send {
    /// The next replies; waits up to [`MAX_WAIT`] and returns an empty batch when none came. After an
    /// error, call again: it reconnects and goes on after the last reply it handed out.
    async fn next(&mut self) -> Result<Vec<Reply>, BrokerError>;

    /// Removes the stream; for a requester that leaves for good. What is still in it becomes results of its records.
    async fn close(&mut self) -> Result<(), BrokerError>;
}

/// What a backend is opened with.
#[derive(Debug, Clone, Copy)]
pub struct BrokerOptions {
    /// What the callers of [`Queue::reclaim`] pass as `idle`.
    pub lease: Duration,
    /// What a write must have reached before it counts as done.
    pub durability: Durability,
    /// For how long records are kept.
    pub retention: Retention,
}

/// A backend, as the parts that use it see it.
#[derive(Debug, Clone)]
pub struct Backend {
    /// Requests and replies.
    pub broker: Arc<dyn Broker>,
    /// What was given up.
    pub dead_letters: Arc<dyn DeadLetters>,
    /// What is kept of requests.
    pub records: Arc<dyn ResultStore>,
}

/// Opens the backend that `url` names. Nothing is connected yet: a Redis that is down is an error of the
/// calls, so that a service starts, says so, and recovers by itself.
#[must_use]
pub fn connect(url: &BrokerUrl, options: BrokerOptions) -> Backend {
    match url {
        BrokerUrl::Memory => Backend::of(memory::MemoryBroker::with(options.retention)),
        BrokerUrl::Redis(info) => Backend::of(redis::RedisBroker::new(info.as_ref().clone(), options)),
    }
}

impl Backend {
    fn of(backend: impl Broker + DeadLetters + ResultStore) -> Self {
        let backend = Arc::new(backend);
        Self {
            broker: backend.clone(),
            dead_letters: backend.clone(),
            records: backend,
        }
    }
}
