//! Dead letters of the embedded backend: bounded in bytes; the oldest go.

use async_trait::async_trait;

use super::MemoryBroker;
use super::room;
use super::state::{Content, State, full};
use crate::broker::{BrokerError, DeadLetter, DeadLetters, EntryId, Replayed, StoredLetter};

/// A dead letter, with what it was.
#[derive(Debug)]
pub(super) struct Letter {
    entry: EntryId,
    letter: DeadLetter,
    pub(super) content: Content,
}

impl State {
    pub(super) fn keep(&mut self, entry: EntryId, letter: &DeadLetter, content: Content) -> EntryId {
        let weight = room::of_letter(letter, &content);
        // This process has nothing but its own memory, and what was given up cannot be refused: the oldest go.
        while !self.letters_room.fits(weight) {
            let Some(oldest) = self.letters.keys().next().copied() else {
                break;
            };
            tracing::warn!(letter = %oldest, "a dead letter was dropped: there is no room for more (MEMORY_LIMIT)");
            self.discard(oldest);
        }
        self.letters_room.take(weight);
        let (id, letter) = (self.next_id(), letter.clone());
        self.letters.insert(id, Letter { entry, letter, content });
        id
    }

    /// Takes a dead letter out.
    pub(super) fn discard(&mut self, id: EntryId) -> Option<Content> {
        let letter = self.letters.remove(&id)?;
        self.letters_room
            .give_back(room::of_letter(&letter.letter, &letter.content));
        Some(letter.content)
    }
}

impl Letter {
    pub(super) fn stored(&self, id: EntryId) -> StoredLetter {
        StoredLetter {
            id,
            entry: Some(self.entry),
            reason: self.letter.reason.clone(),
            attempts: self.letter.attempts,
            last_error: self.letter.last_error.clone(),
            replayable: self.content.is_ok(),
            fields: self.letter.fields.clone(),
        }
    }
}

#[async_trait]
impl DeadLetters for MemoryBroker {
    async fn letters(&self, before: Option<EntryId>, max: usize) -> Result<Vec<StoredLetter>, BrokerError> {
        let state = self.store.lock();
        let older = state
            .letters
            .iter()
            .rev()
            .filter(|(id, _)| before.is_none_or(|before| **id < before));
        Ok(older.take(max).map(|(id, letter)| letter.stored(*id)).collect())
    }

    async fn letter(&self, id: EntryId) -> Result<Option<StoredLetter>, BrokerError> {
        Ok(self.store.lock().letters.get(&id).map(|letter| letter.stored(id)))
    }

    async fn replay(&self, id: EntryId) -> Result<Replayed, BrokerError> {
        let mut state = self.store.lock();
        let content = match state.letters.get(&id) {
            None => return Ok(Replayed::Unknown),
            Some(letter) if letter.content.is_err() => return Ok(Replayed::Malformed),
            Some(letter) => letter.content.clone(),
        };
        let request = content.as_ref().ok().map(|request| (request.id, request.budget));
        let has_room = request.is_none_or(|(request, _)| state.kept.has_room_to_reopen(request));
        if !has_room || !state.has_room(content.iter()) {
            return Err(full("replay a dead letter"));
        }
        state.discard(id);
        let entry = state.append(content);
        if let Some((request, budget)) = request {
            state.kept.reopen(request, budget, entry);
        }
        drop(state);
        self.store.arrived.notify_one();
        Ok(Replayed::As(entry))
    }

    async fn discard(&self, id: EntryId) -> Result<bool, BrokerError> {
        Ok(self.store.lock().discard(id).is_some())
    }
}
