//! How a record begins.

use std::time::Duration;

use super::moment::millis;
use crate::broker::{EntryId, Noted, Record, Status};
use crate::message::{Budget, CorrelationId, Origin};

/// Where a request is whose record begins.
#[derive(Debug)]
pub(super) struct Beginning {
    pub(super) id: CorrelationId,
    pub(super) origin: Origin,
    pub(super) budget: Budget,
    pub(super) place: Option<EntryId>,
    /// Which delivery it is at; 0 while it waits.
    pub(super) attempts: u32,
}

impl Beginning {
    /// The record, to be kept for so long.
    pub(super) fn record(&self, lives: Duration, has_key: bool) -> Record {
        let now = millis();
        let (status, started, version) = match self.attempts {
            0 => (Status::Queued, None, 1),
            _ => (Status::Processing, Some(Noted { at: now, version: 2 }), 2),
        };
        Record {
            id: self.id,
            origin: self.origin.clone(),
            status,
            created: self.place.map_or(now, |place| place.at.millis),
            started,
            finished: None,
            expires: now + lives.as_millis() as u64,
            attempts: self.attempts,
            progress: None,
            cancel_requested: false,
            has_key,
            version,
            outcome: None,
        }
    }
}
