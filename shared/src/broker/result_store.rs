//! Records: what is kept of requests that somebody can ask for again. The rule: a record changes only in the step
//! that makes its change true, so that whoever reads it, through whichever instance, reads what happened.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{BrokerError, EntryId};
use crate::message::{Budget, CorrelationId, Fault, FaultCode, Origin, Reply, ReplyTo, Request, Tenant};

/// Records of requests.
#[async_trait]
pub trait ResultStore: fmt::Debug + Send + Sync + 'static {
    /// Publishes requests, each in one step with its record and its idempotency key. Each for itself: one outcome
    /// for each, in order. After an error of the whole call that [may have applied](BrokerError::may_have_applied) each
    /// may be there.
    async fn submit(&self, requests: &[Acceptance]) -> Result<Vec<Result<Accepted, BrokerError>>, BrokerError>;

    /// Makes a record of a request that was published without one.
    async fn create(&self, record: &NewRecord<'_>) -> Result<(), BrokerError>;

    /// Says that work begins, as the attempt of this number. A request without a record may run, unless somebody
    /// asked for its end.
    async fn start(&self, id: CorrelationId, attempt: u32) -> Result<Started, BrokerError>;

    /// Notes how far the work has come. Nothing, where there is no record, or the work is over.
    async fn note_progress(&self, id: CorrelationId, progress: &Progress) -> Result<(), BrokerError>;

    /// Stores the results of those that have a record and no result yet; returns how many these were.
    async fn complete(&self, replies: &[Reply]) -> Result<usize, BrokerError>;

    /// Stores the results of those that have no result yet; those without a record get one. An error: not all have one.
    async fn store(&self, replies: &[Reply]) -> Result<(), BrokerError>;

    /// Records by their ids, each with its result; `None` where there is none, or none any more.
    async fn records(&self, ids: &[CorrelationId]) -> Result<Vec<Option<Record>>, BrokerError>;

    /// Records of one tenant, newest first, without their results.
    async fn list(&self, page: &RecordPage<'_>) -> Result<Vec<Record>, BrokerError>;

    /// Ends a request. What nobody has begun never starts; what is at work is told. `entry` helps where there is no
    /// record.
    async fn cancel(&self, id: CorrelationId, entry: Option<EntryId>) -> Result<CancelOutcome, BrokerError>;

    /// Those of these requests whose end was asked for.
    async fn cancelling(&self, ids: &[CorrelationId]) -> Result<Vec<CorrelationId>, BrokerError>;

    /// Removes what is left of records whose time is over, and ends as expired the records of requests that are past
    /// their deadline and in nobody's hands any more. Some at a time: to be called again until there is nothing more.
    async fn purge_expired(&self) -> Result<Purged, BrokerError>;

    /// Tells of changes from now on. They wake up; the records are the truth.
    fn changes(&self) -> Box<dyn Changes>;
}

/// Changes of records, as they happen.
#[async_trait]
pub trait Changes: Send {
    /// The next changes; waits until there are any. After an error, call again: it reconnects, and begins with
    /// [`Change::Missed`].
    async fn next(&mut self) -> Result<Vec<Change>, BrokerError>;
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A record changed.
    Record(CorrelationId),
    /// Somebody asked for the end of a request at work.
    Cancel(CorrelationId),
    /// Changes may have been missed: read again what matters.
    Missed,
}

/// For how long things are kept, and how large they may be.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// How long a record is kept after its request ended.
    pub results: Duration,
    /// How long an idempotency key names its request: at least for its budget, at most as long as the record is there.
    pub keys: Duration,
    /// The largest result that is kept, in bytes.
    pub max_result: usize,
    /// How much `memory://` keeps of everything, in bytes. A server has a limit of its own.
    pub memory_limit: usize,
}

impl Default for Retention {
    /// A day; a mebibyte; 256 mebibytes.
    fn default() -> Self {
        let day = Duration::from_secs(24 * 60 * 60);
        Self {
            results: day,
            keys: day,
            max_result: 1024 * 1024,
            memory_limit: 256 * 1024 * 1024,
        }
    }
}

/// A request to be published with a record.
#[derive(Debug, Clone)]
pub struct Acceptance {
    /// The request. Its [`keep`](Request::keep) says whether its requester waits for the reply, too.
    pub request: Request,
    /// The key under which the same call may come again.
    pub key: Option<IdempotencyKey>,
}

/// The record of a request that was published without one.
#[derive(Debug, Clone, Copy)]
pub struct NewRecord<'a> {
    /// The request.
    pub id: CorrelationId,
    /// What it is of.
    pub origin: &'a Origin,
    /// Its place in its queue, where that is known: it says how far the request has come.
    pub entry: Option<EntryId>,
    /// How long the work is worth doing.
    pub budget: Budget,
    /// Who reads its reply.
    pub requester: &'a ReplyTo,
}

/// Which records are listed.
#[derive(Debug, Clone, Copy)]
pub struct RecordPage<'a> {
    /// Whose.
    pub tenant: &'a Tenant,
    /// Of which status; `None`: of any.
    pub status: Option<Status>,
    /// Older than this one; `None`: from the newest on.
    pub before: Option<CorrelationId>,
    /// At most so many.
    pub max: usize,
}

/// A caller's idempotency key, digested: no key of a caller becomes part of a name in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// Digest of the tenant, the route and the key.
    pub name: [u8; 32],
    /// Digest of what is asked for.
    pub fingerprint: [u8; 32],
}

/// What there was to sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Purged {
    /// Records that were removed.
    pub removed: usize,
    /// Records whose request ended without a result.
    pub ended: usize,
}

/// What became of a request that was to be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It is in the stream, as this entry.
    As(EntryId),
    /// Its key names this request, which asks for the same.
    Known(CorrelationId),
    /// Its key names a request that asks for something else.
    Conflict,
}

/// Whether work may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// It may.
    Proceed,
    /// Somebody asked for the end of this request, or it has ended.
    Ended,
}

/// What became of a wish to end a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelOutcome {
    /// Nobody had begun it, and nobody will.
    Cancelled,
    /// It is at work, or its result under way; it was told.
    Requested,
    /// It had ended before, so.
    AlreadyFinished(Status),
    /// There is no such request, or nothing is known of it any more.
    Unknown,
}

/// Where a request is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// It waits for a worker.
    Queued,
    /// A worker has begun it.
    Processing,
    /// It has a result.
    Succeeded,
    /// It ended without a result.
    Failed,
    /// Its time ran out.
    Expired,
    /// Somebody ended it.
    Cancelled,
}

impl Status {
    /// All there are.
    pub const ALL: [Self; 6] = [
        Self::Queued,
        Self::Processing,
        Self::Succeeded,
        Self::Failed,
        Self::Expired,
        Self::Cancelled,
    ];

    /// Its name, in documents and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Processing => "processing",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }

    /// The status of a name.
    #[must_use]
    pub fn parse(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str().as_bytes() == name)
    }

    /// Whether nothing comes after it.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Processing)
    }

    /// The status that an outcome ends in.
    #[must_use]
    pub fn of<T>(outcome: &Result<T, Fault>) -> Self {
        match outcome.as_ref().map_err(|fault| fault.code) {
            Ok(_) => Self::Succeeded,
            Err(FaultCode::Expired) => Self::Expired,
            Err(FaultCode::Cancelled) => Self::Cancelled,
            Err(_) => Self::Failed,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is kept of a request. Times are in milliseconds since the Unix epoch, on the broker's clock.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The request whose record this is.
    pub id: CorrelationId,
    /// What that is of.
    pub origin: Origin,
    /// Where it is.
    pub status: Status,
    /// When it was accepted.
    pub created: u64,
    /// When its last attempt began, and the version that said so.
    pub started: Option<Noted>,
    /// When it ended, and the version that said so.
    pub finished: Option<Noted>,
    /// Until when this is kept, as things are.
    pub expires: u64,
    /// Which delivery was the last to begin; 0 while it waits.
    pub attempts: u32,
    /// How far the work has come, and the version that said so.
    pub progress: Option<(Progress, u64)>,
    /// Whether somebody asked for its end while it was at work.
    pub cancel_requested: bool,
    /// Whether an idempotency key names it, so that its outcome is the answer to every call with that key. Not any
    /// more where nothing was attempted: the key is free then.
    pub has_key: bool,
    /// Counts its changes; the first is 1.
    pub version: u64,
    /// How it ended; `None` until then, and in lists.
    pub outcome: Option<Result<Bytes, Fault>>,
}

impl Record {
    /// Whether an idempotency key stands for an outcome of this request, rather than being free again. A record that
    /// has ended says so itself.
    #[must_use]
    pub fn key_stands_for<T>(&self, outcome: &Result<T, Fault>) -> bool {
        self.has_key && (self.status.is_final() || !never_began(outcome, self.attempts, false))
    }
}

/// Whether a request that ended so was never attempted, which frees its idempotency key: it ended before any delivery
/// began it, or its only delivery found the upstream unavailable. The code alone does not say so: work that ran out of
/// time has the same one. Neither do the attempts, where it is uncertain whether a delivery could say that it began.
pub(super) fn never_began<T>(outcome: &Result<T, Fault>, attempts: u32, uncertain: bool) -> bool {
    match outcome.as_ref().map_err(|fault| fault.code) {
        Err(FaultCode::Expired | FaultCode::Cancelled) => attempts == 0 && !uncertain,
        Err(FaultCode::UpstreamUnavailable) => attempts <= 1,
        _ => false,
    }
}

/// When something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noted {
    /// In milliseconds since the Unix epoch.
    pub at: u64,
    /// The version of the record that said so.
    pub version: u64,
}

/// How far work has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// 0 to 100.
    pub percent: u8,
    /// What is being done, in words for callers; may be empty. At most [`Progress::MAX_MESSAGE`] bytes.
    pub message: String,
}

impl Progress {
    /// The longest message, in bytes.
    pub const MAX_MESSAGE: usize = 256;

    /// Progress; what is too much of it is cut.
    #[must_use]
    pub fn new(percent: u8, message: &str) -> Self {
        let longest = Self::MAX_MESSAGE.min(message.len());
        let end = (0..=longest)
            .rev()
            .find(|end| message.is_char_boundary(*end))
            .unwrap_or(0);
        Self {
            percent: percent.min(100),
            message: message[..end].to_owned(),
        }
    }
}

/// What becomes of a result that is too large to be kept.
pub(super) fn too_large() -> Fault {
    Fault::new(
        FaultCode::ResultTooLarge,
        "the work was done, and its result is larger than what is kept (MAX_RESULT)",
    )
}

/// How a request ended of which nothing is left but its record.
pub(super) fn expired() -> Fault {
    Fault::new(
        FaultCode::Expired,
        "the request's time ran out, and no result of it is known",
    )
}

/// What becomes of a result for which there is no room in memory.
pub(super) fn no_room() -> Fault {
    Fault::new(
        FaultCode::ResultTooLarge,
        "the work was done, and there is no room to keep its result (MEMORY_LIMIT)",
    )
}

/// What those hear who wait for a request that was cancelled.
pub(super) fn cancelled() -> Fault {
    Fault::new(FaultCode::Cancelled, "the request was cancelled before it was done")
}
