//! Dead letters: what was given up, kept for somebody to look at. The one rule: a letter leaves only in the
//! step that puts its request back, or because a person said so.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use super::{BrokerError, EntryId, Position};
use crate::message::{CorrelationId, Partition};
use crate::operation::OperationName;

/// What was given up.
#[async_trait]
pub trait DeadLetters: fmt::Debug + Send + Sync + 'static {
    /// Letters older than `before`, or the newest where that is `None`; newest first, at most `max`.
    async fn letters(&self, before: Option<LetterId>, max: usize) -> Result<Vec<StoredLetter>, BrokerError>;

    /// One letter; `None` when there is none of this id.
    async fn letter(&self, id: LetterId) -> Result<Option<StoredLetter>, BrokerError>;

    /// Puts the request back into the stream, with its own correlation id and a new budget of the same
    /// length, and removes the letter, in one step.
    async fn replay(&self, id: LetterId) -> Result<Replayed, BrokerError>;

    /// Removes a letter for good; `false` when there is none of this id.
    async fn discard(&self, id: LetterId) -> Result<bool, BrokerError>;
}

/// Names a letter: when it was given up, on the broker's clock. As text `1700000000000-0`, behind which the part of the
/// store follows where there are several: `1700000000000-0-3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LetterId {
    /// Where in the letters.
    pub at: Position,
    /// In which part of the store.
    pub partition: Partition,
}

impl LetterId {
    /// The letter at a position of the only part of the store.
    #[must_use]
    pub fn of(at: Position) -> Self {
        let partition = Partition::ONLY;
        Self { at, partition }
    }

    /// Reads an id.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let dashes = text.iter().enumerate().filter(|(_, byte)| **byte == b'-');
        let second = dashes.map(|(at, _)| at).nth(1);
        let (at, partition) = text.split_at(second.unwrap_or(text.len()));
        Some(Self {
            at: Position::parse(at)?,
            partition: Partition::parse_suffix(partition)?,
        })
    }
}

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.at, self.partition)
    }
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
    pub id: LetterId,
    /// The entry of the request stream it was: when the request was accepted, on the broker's clock.
    /// `None` in a letter that somebody wrote by hand.
    pub entry: Option<Position>,
    /// The operation whose request it was.
    pub operation: OperationName,
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_letters_id_names_its_part_where_there_are_several() {
        let at = Position { millis: 7, sequence: 1 };
        for (text, partition) in [("7-1", 0), ("7-1-3", 3), ("7-1-1023", 1023)] {
            let id = LetterId {
                at,
                partition: Partition::new(partition).unwrap(),
            };
            assert_eq!(LetterId::parse(text.as_bytes()), Some(id));
            assert_eq!(id.to_string(), text);
        }
        for text in [
            "", "7", "7-", "7-1-", "7-1-0", "7-1-03", "7-1-1024", "7-1-3-", "7-1-3-4", "-7-1",
        ] {
            assert_eq!(LetterId::parse(text.as_bytes()), None, "{text}");
        }
    }
}
