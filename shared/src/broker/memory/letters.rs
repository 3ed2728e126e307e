//! Dead letters of the embedded backend: bounded in bytes; the oldest go.

use std::collections::BTreeMap;

use super::room::{self, Content, Room};
use crate::broker::{DeadLetter, LetterId, Position, StoredLetter};
use crate::operation::OperationName;

#[derive(Debug)]
pub(super) struct Letters {
    letters: BTreeMap<LetterId, Letter>,
    room: Room,
}

/// A dead letter, with what it was.
#[derive(Debug)]
struct Letter {
    operation: OperationName,
    entry: Position,
    letter: DeadLetter,
    content: Content,
}

impl Letters {
    /// None, and room for so many bytes of them.
    pub(super) fn new(limit: usize) -> Self {
        let (letters, room) = (BTreeMap::new(), Room::new(limit));
        Self { letters, room }
    }

    pub(super) fn keep(
        &mut self,
        id: LetterId,
        operation: OperationName,
        entry: Position,
        letter: DeadLetter,
        content: Content,
    ) {
        let weight = room::of_letter(&letter, &content);
        // This process has nothing but its own memory, and what was given up cannot be refused: the oldest go.
        while !self.room.fits(weight) {
            let Some(oldest) = self.letters.keys().next().copied() else {
                break;
            };
            tracing::warn!(letter = %oldest, "a dead letter was dropped: there is no room for more (MEMORY_LIMIT)");
            self.discard(oldest);
        }
        self.room.take(weight);
        let letter = Letter {
            operation,
            entry,
            letter,
            content,
        };
        self.letters.insert(id, letter);
    }

    /// Takes a dead letter out.
    pub(super) fn discard(&mut self, id: LetterId) -> Option<Content> {
        let letter = self.letters.remove(&id)?;
        self.room.give_back(room::of_letter(&letter.letter, &letter.content));
        Some(letter.content)
    }

    /// Letters older than `before`, newest first.
    pub(super) fn older(&self, before: Option<LetterId>, max: usize) -> Vec<StoredLetter> {
        let newest_first = self.letters.iter().rev();
        let older = newest_first.filter(|(id, _)| before.is_none_or(|before| **id < before));
        older.take(max).map(|(id, letter)| letter.stored(*id)).collect()
    }

    pub(super) fn get(&self, id: LetterId) -> Option<StoredLetter> {
        Some(self.letters.get(&id)?.stored(id))
    }

    /// What a letter was, and of which operation.
    pub(super) fn content(&self, id: LetterId) -> Option<(OperationName, &Content)> {
        self.letters.get(&id).map(|letter| (letter.operation, &letter.content))
    }

    pub(super) fn len(&self) -> usize {
        self.letters.len()
    }

    #[cfg(test)]
    pub(super) fn has_taken_nothing(&self) -> bool {
        self.room.is_empty()
    }
}

impl Letter {
    fn stored(&self, id: LetterId) -> StoredLetter {
        StoredLetter {
            id,
            operation: self.operation,
            entry: Some(self.entry),
            reason: self.letter.reason.clone(),
            attempts: self.letter.attempts,
            last_error: self.letter.last_error.clone(),
            replayable: self.content.is_ok(),
            fields: self.letter.fields.clone(),
        }
    }
}
