//! What a worker is given: an entry of a queue, claimed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::message::{CorrelationId, Partition, ReplyTo, Request};
use crate::operation::OperationName;

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

/// A place in one of the broker's logs: its own clock in milliseconds, and a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Position {
    /// Milliseconds since the Unix epoch, on the broker's clock.
    pub millis: u64,
    /// Tells entries of the same millisecond apart.
    pub sequence: u64,
}

impl Position {
    /// Reads a position such as `1700000000000-0`.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (millis, sequence) = std::str::from_utf8(text).ok()?.split_once('-')?;
        Some(Self {
            millis: millis.parse().ok()?,
            sequence: sequence.parse().ok()?,
        })
    }

    /// The smallest position after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self {
            millis: self.millis,
            sequence: self.sequence.saturating_add(1),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.millis, self.sequence)
    }
}

/// One entry of all queues: two of them may stand at the same position of two queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId {
    /// Whose queue it is in.
    pub operation: OperationName,
    /// In which part of that queue, where it is shared out to several servers.
    pub partition: Partition,
    /// Where in it.
    pub at: Position,
}

impl EntryId {
    /// The entry at a position of the only part of an operation's queue.
    #[must_use]
    pub fn of(operation: OperationName, at: Position) -> Self {
        Self {
            operation,
            partition: Partition::ONLY,
            at,
        }
    }
}

impl fmt::Display for EntryId {
    /// The position, behind the operation where that does not go without saying.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.operation.goes_without_saying() {
            write!(f, "{}/", self.operation)?;
        }
        write!(f, "{}{}", self.at, self.partition)
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
