//! Dead letters: what was given up, kept for somebody to look at. The one rule: a letter leaves only in the
//! step that puts its request back, or because a person said so.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use super::{BrokerError, EntryId};
use crate::message::CorrelationId;

/// What was given up.
#[async_trait]
pub trait DeadLetters: fmt::Debug + Send + Sync + 'static {
    /// Letters older than `before`, or the newest where that is `None`; newest first, at most `max`.
    async fn letters(&self, before: Option<EntryId>, max: usize) -> Result<Vec<StoredLetter>, BrokerError>;

    /// One letter; `None` when there is none of this id.
    async fn letter(&self, id: EntryId) -> Result<Option<StoredLetter>, BrokerError>;

    /// Puts the request back into the stream, with its own correlation id and a new budget of the same
    /// length, and removes the letter, in one step.
    async fn replay(&self, id: EntryId) -> Result<Replayed, BrokerError>;

    /// Removes a letter for good; `false` when there is none of this id.
    async fn discard(&self, id: EntryId) -> Result<bool, BrokerError>;
}

/// What became of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replayed {
    /// The request is in the stream again, as this entry.
    As(EntryId),
    /// There is no letter of this id.
    Unknown,
    /// The letter holds no request, so it would only come back.
    Malformed,
}

/// A dead letter as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLetter {
    /// Its id: when it was given up, on the broker's clock.
    pub id: EntryId,
    /// The entry of the request stream it was: when the request was accepted, on the broker's clock.
    /// `None` in a letter that somebody wrote by hand.
    pub entry: Option<EntryId>,
    /// Why it was given up.
    pub reason: String,
    /// How often it had been delivered.
    pub attempts: u32,
    /// What the last attempt failed with; empty where nobody lived to tell.
    pub last_error: String,
    /// Whether it holds a request, which is what a replay takes.
    pub replayable: bool,
    /// The entry's fields as they were.
    pub fields: Vec<(Bytes, Bytes)>,
}

impl StoredLetter {
    /// The correlation id of what it holds; `None` where that cannot be read.
    #[must_use]
    pub fn request_id(&self) -> Option<CorrelationId> {
        let (_, value) = self.fields.iter().find(|(name, _)| name == "requestId")?;
        CorrelationId::parse(value)
    }
}
