//! Room in bytes. The rule: what was taken is given back to the byte, so that nothing leaks or goes below zero.

use bytes::Bytes;

use crate::broker::{DeadLetter, Malformed};
use crate::message::{Fault, Request};

/// What is in an entry.
pub(super) type Content = Result<Request, Malformed>;

/// What an entry takes besides what its sender wrote, about.
const ENTRY: usize = 512;

/// What a record takes, about: with its places in indexes, its key, and a message of progress.
pub(super) const RECORD: usize = 1024;

/// What is kept free for the result of each request that has none yet. Results are small as a rule; where a larger one
/// does not fit, whoever asks is told.
pub(super) const RESULT: usize = 4 * 1024;

/// How many bytes of how many are taken.
#[derive(Debug)]
pub(super) struct Room {
    taken: usize,
    limit: usize,
}

impl Room {
    pub(super) fn new(limit: usize) -> Self {
        Self { taken: 0, limit }
    }

    pub(super) fn fits(&self, bytes: usize) -> bool {
        bytes == 0 || self.taken.saturating_add(bytes) <= self.limit
    }

    pub(super) fn take(&mut self, bytes: usize) {
        self.taken += bytes;
    }

    pub(super) fn give_back(&mut self, bytes: usize) {
        self.taken -= bytes;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.taken == 0
    }
}

/// What an entry of the request stream takes.
pub(super) fn of_entry(content: &Content) -> usize {
    match content {
        Ok(request) => of_request(request),
        Err(malformed) => ENTRY + of_fields(&malformed.fields),
    }
}

pub(super) fn of_request(request: &Request) -> usize {
    ENTRY + request.data.len() + request.traceparent.as_ref().map_or(0, |trace| trace.len())
}

/// What a dead letter takes, with what it was.
pub(super) fn of_letter(letter: &DeadLetter, content: &Content) -> usize {
    letter.reason.len() + letter.last_error.len() + of_fields(&letter.fields) + of_entry(content)
}

/// What an outcome takes beside its record.
pub(super) fn of_outcome(outcome: &Result<Bytes, Fault>) -> usize {
    match outcome {
        Ok(data) => data.len(),
        Err(fault) => fault.detail.len(),
    }
}

fn of_fields(fields: &[(Bytes, Bytes)]) -> usize {
    fields.iter().map(|(name, value)| name.len() + value.len()).sum()
}
