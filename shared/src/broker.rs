//! The seam: what a durable request/reply transport does, whichever backend does it.
//! The one rule: a request is acknowledged in the same step that makes its reply readable, never before.

pub mod memory;
pub mod redis;

mod dead_letters;
mod durability;
mod error;
mod result_store;
mod url;

#[cfg(feature = "test-util")]
pub mod conformance;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use crate::batch::Weigh;
use crate::message::{CorrelationId, ENVELOPE, FaultCode, Keep, Reply, ReplyTo, Request};

pub use dead_letters::{DeadLetters, Replayed, StoredLetter};
pub use durability::Durability;
pub use error::{BrokerError, BrokerErrorKind};
pub use result_store::{
    Acceptance, Accepted, CancelOutcome, Change, Changes, IdempotencyKey, Noted, Progress, Purged, Record, ResultStore,
    Retention, Started, Status,
};
pub use url::{BrokerUrl, InvalidBrokerUrl};

/// How long [`Broker::claim`] and [`ReplyStream::next`] wait for something to arrive. Long enough that an
/// idle instance costs nothing, short enough that shutdown, and the search for dropped work that takes turns
/// with claiming, never wait noticeably.
pub const MAX_WAIT: Duration = Duration::from_millis(500);

/// How long ago a worker gave its last sign of life, at most, where it counts among those that are there. Each gives one
/// every 5 seconds, with [`Broker::maintain`].
pub const WORKER_SEEN_WITHIN: Duration = Duration::from_secs(15);

/// How long a requester may be silent before its replies are removed. Longer than a slow start or a short
/// partition, and short enough that what a crash leaves is gone within a minute.
pub const ABSENCE: Duration = Duration::from_secs(45);

/// A durable request/reply transport. Every call moves a batch; an empty batch does nothing.
///
/// Calls do not retry: an error says whether the call may have taken effect
/// ([`BrokerError::may_have_applied`]), and the caller decides.
#[async_trait]
pub trait Broker: fmt::Debug + Send + Sync + 'static {
    /// Appends requests, in order, all or none; durable at the configured tier when it returns. Returns their
    /// places in the stream.
    async fn publish(&self, requests: &[Request]) -> Result<Vec<EntryId>, BrokerError>;

    /// Makes what claiming needs, where it is missing: at the start, and after
    /// [`BrokerErrorKind::GroupLost`]. Whatever waits is served from its beginning. Returns whether
    /// anything was missing.
    async fn prepare(&self) -> Result<bool, BrokerError>;

    /// New deliveries for `consumer`, oldest first, at most `max`. Waits up to [`MAX_WAIT`] for the first
    /// one and returns an empty batch when there was none. A claim that is dropped may lose its deliveries
    /// to nobody: await it to the end, and after an error ask [`Broker::recover`].
    async fn claim(&self, consumer: &Consumer, max: usize) -> Result<Vec<Delivery>, BrokerError>;

    /// New deliveries, as [`Broker::claim`], but only those that are about to expire: from the oldest on, as
    /// long as no more than `within` is left of their budgets. Does not wait. For a worker that may not work
    /// now, and still has to tell those who wait.
    async fn claim_due(&self, consumer: &Consumer, within: Duration, max: usize) -> Result<Vec<Delivery>, BrokerError>;

    /// What this consumer was given and never saw, because a call failed halfway: its entries less those
    /// it says it holds, and those it handed back, at most `max`, oldest first. For [`Broker::redeliver`].
    async fn recover(
        &self,
        consumer: &Consumer,
        held: &HashSet<EntryId>,
        max: usize,
    ) -> Result<Vec<Dropped>, BrokerError>;

    /// Takes over entries that nobody renewed for `idle`, at most `max`. Not counted as a delivery: that is
    /// for [`Broker::redeliver`], so that nothing is blamed for what it only lay beside.
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

    /// Says that a consumer with so many terminals is there, and clears up after others: forgets consumers that hold nothing and were silent for `silent`, and brings
    /// back entries that are in nobody's hands and that no claim would find. Those are `consumer`'s to
    /// reclaim at once.
    async fn maintain(&self, consumer: &Consumer, terminals: u32, silent: Duration) -> Result<Maintained, BrokerError>;

    /// Makes replies readable, then removes their requests, atomically. Safe to repeat after an error:
    /// a delivery that is already settled, or that another consumer took over, is left alone.
    async fn settle(&self, settlements: &[Settlement]) -> Result<(), BrokerError>;

    /// Says that a requester is alive, and makes the place for its replies where that is missing: a reply to
    /// a requester without one goes to its record, or nowhere. Adopts what requesters left behind that said nothing
    /// for [`ABSENCE`], and went on saying nothing for some more calls: their replies become results, some at a time. To be
    /// called about once a second, and at once where more is left.
    async fn heartbeat(&self, requester: &ReplyTo) -> Result<Adoption, BrokerError>;

    /// The replies for one requester, from the first that is still there.
    fn replies(&self, reply_to: &ReplyTo) -> Box<dyn ReplyStream>;

    /// How much is waiting, and for how long.
    async fn depth(&self) -> Result<Depth, BrokerError>;

    /// Asks what the backend lacks or refuses that a service of this role needs; nothing, where all is well. What is
    /// asked for has no effect.
    async fn shortcomings(&self, role: Role) -> Result<Vec<Shortcoming>, BrokerError>;

    /// Asks whether the backend answers; returns the time it took.
    async fn ping(&self) -> Result<Duration, BrokerError>;
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

/// The name under which one worker process claims. Unique per process start: two processes that share a
/// name would share their deliveries too.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Consumer(Arc<str>);

impl Consumer {
    /// A name no other consumer has, beginning with `prefix`.
    #[must_use]
    pub fn unique(prefix: &str) -> Self {
        Self(ReplyTo::unique(prefix).as_str().into())
    }

    /// The consumer's name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where an entry stands in the request stream: the broker's own clock in milliseconds, and a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct EntryId {
    /// Milliseconds since the Unix epoch, on the broker's clock.
    pub millis: u64,
    /// Tells entries of the same millisecond apart.
    pub sequence: u64,
}

impl EntryId {
    /// Reads an id such as `1700000000000-0`.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (millis, sequence) = std::str::from_utf8(text).ok()?.split_once('-')?;
        Some(Self {
            millis: millis.parse().ok()?,
            sequence: sequence.parse().ok()?,
        })
    }

    /// The smallest id after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self {
            millis: self.millis,
            sequence: self.sequence.saturating_add(1),
        }
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.millis, self.sequence)
    }
}

/// Proof of a claim.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// The entry that was claimed.
    pub entry: EntryId,
    /// Who claimed it.
    pub consumer: Consumer,
    /// When it was claimed, on this process' clock.
    pub claimed: Instant,
}

/// One entry, claimed.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// To be given back with the settlement.
    pub receipt: Receipt,
    /// Which delivery of this entry this is; the first is 1.
    pub attempt: u32,
    /// How long the entry had been in the stream when it was claimed, on the broker's own clock.
    pub waited: Duration,
    /// What was in it.
    pub content: Result<Request, Malformed>,
}

impl Delivery {
    /// When the request's budget runs out, on this process' clock. `None` for a malformed entry.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let budget = self.content.as_ref().ok()?.budget.as_duration();
        // An entry that waited longer than its budget has a deadline in the past: the moment of the claim.
        Some(self.receipt.claimed + budget.saturating_sub(self.waited))
    }
}

/// An entry that was delivered before, or should have been, and is now in the hands of whoever asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    /// Which entry.
    pub entry: EntryId,
    /// How often it was delivered so far.
    pub deliveries: u32,
}

/// What there was to clear up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Maintained {
    /// Consumers that were forgotten.
    pub consumers: u64,
    /// Entries that were brought back.
    pub rescued: u64,
}

/// What others left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Adoption {
    /// Requesters that are gone, and whose streams were removed.
    pub removed: u64,
    /// Replies in them that became results.
    pub adopted: u64,
    /// Whether there is more.
    pub more: bool,
}

/// An entry that is no request: put there by hand, or by a publisher that does not keep the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// Which field is wrong, and what is accepted.
    pub reason: String,
    /// Whom to tell, where at least that could be read.
    pub requester: Option<(CorrelationId, ReplyTo)>,
    /// The entry's fields as they are.
    pub fields: Vec<(Bytes, Bytes)>,
}

/// The end of a delivery. Whatever it holds becomes visible in one step with the request's removal.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// The delivery that ends.
    pub receipt: Receipt,
    /// The reply, and whose it is; `None` when nobody can be told.
    pub reply: Option<(ReplyTo, Reply)>,
    /// The dead letter to keep, for work that is given up.
    pub dead_letter: Option<DeadLetter>,
    /// What is kept of the request: its record, where there is one, is told in the same step.
    pub keep: Keep,
    /// Whether somebody asked for its end while it was at work: what was noted of that goes in the same step.
    pub end_was_asked_for: bool,
    /// Whether the work may have begun although its record does not say so. Its idempotency key is not freed then.
    pub may_have_begun: bool,
}

impl Settlement {
    /// Answers a request: with its result, or with the fault that is its result.
    #[must_use]
    pub fn reply(receipt: Receipt, reply_to: ReplyTo, reply: Reply) -> Self {
        Self {
            receipt,
            reply: Some((reply_to, reply)),
            dead_letter: None,
            keep: Keep::No,
            end_was_asked_for: false,
            may_have_begun: false,
        }
    }

    /// Gives an entry up, keeps it as a dead letter, and tells its requester where one is known.
    #[must_use]
    pub fn dead_letter(receipt: Receipt, dead_letter: DeadLetter, reply: Option<(ReplyTo, Reply)>) -> Self {
        Self {
            receipt,
            reply,
            dead_letter: Some(dead_letter),
            keep: Keep::No,
            end_was_asked_for: false,
            may_have_begun: false,
        }
    }

    /// Whether the delivery ends without having been worked on to a result. Such ends come much quicker than work: they
    /// say nothing of how fast what waits is worked off.
    #[must_use]
    pub fn is_discard(&self) -> bool {
        let fault = self.reply.as_ref().and_then(|(_, reply)| reply.outcome.as_ref().err());
        let discards = |code| {
            matches!(
                code,
                FaultCode::Expired | FaultCode::Cancelled | FaultCode::UpstreamUnavailable
            )
        };
        self.dead_letter.is_some() || fault.is_some_and(|fault| discards(fault.code))
    }

    /// The same, of a request of which something is kept.
    #[must_use]
    pub fn keeping(self, keep: Keep) -> Self {
        Self { keep, ..self }
    }

    /// The same, of a request whose end may have been asked for.
    #[must_use]
    pub fn asked_to_end(self, end_was_asked_for: bool) -> Self {
        Self {
            end_was_asked_for,
            ..self
        }
    }

    /// The same, of work that may have begun although nobody could say so, or that an earlier delivery may have begun.
    #[must_use]
    pub fn perhaps_begun(self, may_have_begun: bool) -> Self {
        Self { may_have_begun, ..self }
    }
}

impl Weigh for Settlement {
    fn weight(&self) -> usize {
        let reply = self.reply.as_ref().map_or(ENVELOPE, |(_, reply)| reply.weight());
        let letter = self.dead_letter.as_ref().map_or(0, |letter| {
            let fields = letter.fields.iter().map(|(name, value)| name.len() + value.len());
            letter.last_error.len() + fields.sum::<usize>()
        });
        reply + letter
    }
}

/// An entry that was given up, with what somebody needs to judge it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Why it was given up.
    pub reason: String,
    /// How often it had been delivered.
    pub attempts: u32,
    /// What the last attempt failed with, in words for operators; empty where nobody lived to tell.
    pub last_error: String,
    /// The entry's fields as they were.
    pub fields: Vec<(Bytes, Bytes)>,
}

/// What a service does with a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It publishes, and reads replies.
    Requester,
    /// It claims and settles.
    Worker,
}

/// Something that a backend lacks, or refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortcoming {
    /// What it is, in words for operators.
    pub what: String,
    /// Whether the service cannot do its work with it; else it does it less well.
    pub is_fatal: bool,
}

/// How much is in the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depth {
    /// Requests that no consumer holds.
    pub waiting: u64,
    /// Requests that a consumer holds.
    pub claimed: u64,
    /// Dead letters kept.
    pub dead_letters: u64,
    /// How long the oldest waiting request has been waiting, on the broker's clock.
    pub oldest_waiting: Option<Duration>,
    /// Requests removed since the request stream began, whoever removed them: the difference of two is how many
    /// were completed in between. Goes back when the stream begins anew. `None` where the backend does not
    /// count: Redis before 7.0, and before the first request.
    pub completed: Option<u64>,
    /// How many of these were removed without a result: expired, cancelled, set aside, or never attempted. As far as
    /// those who removed them said so; goes back when the count is lost.
    pub discarded: u64,
    /// What the request stream takes, in bytes, about: what waits and what is claimed. 0 where that is not known.
    pub bytes: u64,
    /// The memory of the server that holds all this; `None` where there is none.
    pub memory: Option<Memory>,
    /// Workers that gave a sign of life within [`WORKER_SEEN_WITHIN`].
    pub workers: u64,
    /// The terminals of these, as far as they say how many they have.
    pub terminals: u64,
}

/// The memory of a server, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// What it takes, of what counts towards its maximum.
    pub used: u64,
    /// What it may take before it refuses writes; 0 where nothing limits it.
    pub max: u64,
    /// Whether it removes what was accepted instead of refusing writes.
    pub evicts: bool,
}

/// What a backend is opened with.
#[derive(Debug, Clone, Copy)]
pub struct BrokerOptions<'a> {
    /// The operation whose streams these are, for example `weather`.
    pub operation: &'a str,
    /// What the callers of [`Broker::reclaim`] pass as `idle`.
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
pub fn connect(url: &BrokerUrl, options: BrokerOptions<'_>) -> Backend {
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
