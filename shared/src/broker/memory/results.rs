//! Records of the embedded backend: bounded in bytes, and kept for as long as was promised.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::broadcast;
use tokio::time::Instant;

use super::beginning::Beginning;
use super::index::Index;
use super::keys::{Keys, Name};
use super::moment::millis;
use super::room::{self, RECORD, RESULT, Room};
use crate::broker::result_store::{never_began, no_room, too_large};
use crate::broker::{
    Accepted, CancelOutcome, Change, EntryId, IdempotencyKey, Noted, Progress, Record, RecordPage, Retention, Started,
    Status,
};
use crate::message::{Budget, CorrelationId, Fault, Reply};

/// How many expired records each new one takes along: more than one, so that they never pile up.
const EXPIRED_PER_NEW: usize = 2;

/// The most expired records that one sweep removes.
const MAX_SWEEP: usize = 200;

/// Changes that a reader may lie behind before it has to read again what matters to it.
const MAX_BEHIND: usize = 4096;

/// Records. What has expired is gone for whoever reads, at once; its memory is given back bit by bit, and whenever
/// there is no room. Nothing else is ever removed.
#[derive(Debug)]
pub(super) struct Kept {
    retention: Retention,
    room: Room,
    records: BTreeMap<CorrelationId, Entry>,
    index: Index,
    keys: Keys,
    cancelling: HashSet<CorrelationId>,
    pub(super) changes: broadcast::Sender<Change>,
}

#[derive(Debug)]
struct Entry {
    record: Record,
    place: Option<EntryId>,
    key: Option<Name>,
    dies: Instant,
    weight: usize,
}

impl Kept {
    /// No records, and room for so many bytes of them.
    pub(super) fn new(retention: Retention, limit: usize) -> Self {
        Self {
            retention,
            room: Room::new(limit),
            records: BTreeMap::new(),
            index: Index::default(),
            keys: Keys::default(),
            cancelling: HashSet::new(),
            changes: broadcast::channel(MAX_BEHIND).0,
        }
    }

    /// What an idempotency key says about a request; `None` where it is new.
    pub(super) fn known(&self, key: &IdempotencyKey) -> Option<Accepted> {
        let claim = self.keys.find(&key.name)?;
        self.live(claim.id)?;
        Some(match claim.fingerprint == key.fingerprint {
            true => Accepted::Known(claim.id),
            false => Accepted::Conflict,
        })
    }

    /// Whether there is room for so many new records, once what has expired is removed.
    pub(super) fn has_room(&mut self, records: usize) -> bool {
        self.make_room(records.saturating_mul(RECORD + RESULT))
    }

    /// Makes a record, unless there is one. There must be room.
    pub(super) fn begin_record(&mut self, beginning: &Beginning, key: Option<&IdempotencyKey>) {
        let Beginning { id, budget, place, .. } = beginning;
        let (id, budget, place) = (*id, *budget, *place);
        if self.live(id).is_some() {
            return;
        }
        self.remove(id);
        self.remove_expired(EXPIRED_PER_NEW);
        let lives = budget.as_duration() + self.retention.results;
        let record = beginning.record(lives, key.is_some());
        let entry = Entry {
            record,
            place,
            // Who repeats a call within its time finds it.
            key: key.map(|key| self.keys.claim(key, id, self.retention.keys.max(budget.as_duration()))),
            dies: Instant::now() + lives,
            weight: RECORD + RESULT,
        };
        self.room.take(entry.weight);
        self.index.add(&entry.record, entry.dies);
        self.records.insert(id, entry);
        self.tell(Change::Record(id));
    }

    pub(super) fn start(&mut self, id: CorrelationId, attempt: u32) -> Started {
        let cancelled = self.cancelling.contains(&id);
        let begun = self.change(id, |record| {
            if record.status.is_final() || record.cancel_requested {
                return Started::Ended;
            }
            record.status = Status::Processing;
            record.attempts = attempt;
            record.progress = None;
            record.version += 1;
            record.started = Some(Noted {
                at: millis(),
                version: record.version,
            });
            Started::Proceed
        });
        begun.unwrap_or(if cancelled { Started::Ended } else { Started::Proceed })
    }

    pub(super) fn note_progress(&mut self, id: CorrelationId, progress: &Progress) {
        self.change(id, |record| {
            if record.status == Status::Processing {
                record.version += 1;
                record.progress = Some((progress.clone(), record.version));
            }
        });
    }

    /// Stores a result, unless there is no record, or one that has ended. `uncertain`: the work may have begun unsaid.
    pub(super) fn complete(&mut self, reply: &Reply, uncertain: bool) -> bool {
        let id = reply.id;
        if self.status(id).is_none_or(Status::is_final) {
            return false;
        }
        let outcome = self.kept(&reply.outcome);
        let weight = RECORD + room::of_outcome(&outcome);
        let lives = self.retention.results;
        self.change(id, |record| {
            record.version += 1;
            record.status = Status::of(&outcome);
            record.finished = Some(Noted {
                at: millis(),
                version: record.version,
            });
            // The same call may come again under its key.
            record.has_key &= !never_began(&outcome, record.attempts, uncertain);
            record.outcome = Some(outcome);
        });
        self.lives(id, lives, weight);
        self.cancelling.remove(&id);
        let entry = self.records.get_mut(&id).filter(|entry| !entry.record.has_key);
        if let Some(key) = entry.and_then(|entry| entry.key.take()) {
            self.keys.free(&key, id);
        }
        true
    }

    /// Stores a result, with a record where there is none yet. Returns whether there is one now: it needs room.
    pub(super) fn store(&mut self, reply: &Reply, uncertain: bool) -> bool {
        if self.status(reply.id).is_none() {
            if !self.has_room(1) {
                return false;
            }
            let beginning = Beginning {
                id: reply.id,
                origin: reply.origin.clone(),
                budget: Budget::new(Duration::ZERO),
                place: None,
                attempts: 0,
            };
            self.begin_record(&beginning, None);
            self.change(reply.id, |record| record.attempts = 1);
        }
        self.complete(reply, uncertain);
        true
    }

    /// What is kept of an outcome.
    fn kept(&mut self, outcome: &Result<Bytes, Fault>) -> Result<Bytes, Fault> {
        match outcome {
            Ok(data) if data.len() > self.retention.max_result => Err(too_large()),
            outcome if self.make_room(room::of_outcome(outcome).saturating_sub(RESULT)) => outcome.clone(),
            _ => Err(no_room()),
        }
    }

    /// Whether a request that has ended can wait for a result again, which needs the room that its result gave back.
    pub(super) fn has_room_to_reopen(&mut self, id: CorrelationId) -> bool {
        let weight = self.live(id).map_or(usize::MAX, |entry| entry.weight);
        self.make_room((RECORD + RESULT).saturating_sub(weight))
    }

    /// A request that had ended is in the stream again, with a new budget. There must be room.
    pub(super) fn reopen(&mut self, id: CorrelationId, budget: Budget, place: EntryId) {
        if !self.status(id).is_some_and(Status::is_final) {
            return;
        }
        self.change(id, |record| {
            record.version += 1;
            (record.status, record.finished, record.outcome) = (Status::Queued, None, None);
            record.cancel_requested = false;
        });
        self.lives(id, budget.as_duration() + self.retention.results, RECORD + RESULT);
        let Some(entry) = self.records.get_mut(&id) else { return };
        entry.place = Some(place);
        if let Some(key) = &entry.key {
            self.keys.prolong(key, budget.as_duration());
        }
    }

    pub(super) fn place(&self, id: CorrelationId) -> Option<EntryId> {
        self.live(id)?.place
    }

    pub(super) fn status(&self, id: CorrelationId) -> Option<Status> {
        Some(self.live(id)?.record.status)
    }

    /// Notes a wish to end what is at work.
    pub(super) fn wish(&mut self, id: CorrelationId) -> CancelOutcome {
        self.change(id, |record| {
            record.cancel_requested = true;
            record.version += 1;
        });
        self.cancelling.insert(id);
        self.tell(Change::Cancel(id));
        CancelOutcome::Requested
    }

    pub(super) fn forget_wish(&mut self, id: CorrelationId) {
        self.cancelling.remove(&id);
    }

    pub(super) fn cancelling(&self, ids: &[CorrelationId]) -> Vec<CorrelationId> {
        ids.iter().filter(|id| self.cancelling.contains(id)).copied().collect()
    }

    pub(super) fn record(&self, id: CorrelationId) -> Option<Record> {
        self.live(id).map(|entry| entry.record.clone())
    }

    pub(super) fn list(&self, page: &RecordPage<'_>) -> Vec<Record> {
        let without_result = |entry: &Entry| Record {
            outcome: None,
            ..entry.record.clone()
        };
        let live = self.index.older(page).filter_map(|id| self.live(id));
        live.take(page.max).map(without_result).collect()
    }

    pub(super) fn purge_expired(&mut self) -> usize {
        self.remove_expired(MAX_SWEEP)
    }

    /// Removes up to so many expired records; returns how many these were.
    fn remove_expired(&mut self, max: usize) -> usize {
        let now = Instant::now();
        for removed in 0..max {
            let Some(id) = self.index.expired(now) else {
                return removed;
            };
            self.remove(id);
        }
        max
    }

    fn make_room(&mut self, bytes: usize) -> bool {
        while !self.room.fits(bytes) {
            if self.purge_expired() == 0 {
                return false;
            }
        }
        true
    }

    fn live(&self, id: CorrelationId) -> Option<&Entry> {
        self.records.get(&id).filter(|entry| entry.dies > Instant::now())
    }

    /// Changes a record, and says so where it counted as a change.
    fn change<T>(&mut self, id: CorrelationId, change: impl FnOnce(&mut Record) -> T) -> Option<T> {
        let now = Instant::now();
        let entry = self.records.get_mut(&id).filter(|entry| entry.dies > now)?;
        let (status, version) = (entry.record.status, entry.record.version);
        let changed = change(&mut entry.record);
        if entry.record.status != status {
            self.index.remove_with(&entry.record, status, entry.dies);
            self.index.add(&entry.record, entry.dies);
        }
        if entry.record.version != version {
            self.tell(Change::Record(id));
        }
        Some(changed)
    }

    /// Gives a record another time to live, from now on, and another weight.
    fn lives(&mut self, id: CorrelationId, time: Duration, weight: usize) {
        let Some(entry) = self.records.get_mut(&id) else { return };
        self.index.remove(&entry.record, entry.dies);
        self.room.give_back(entry.weight);
        entry.record.expires = millis() + time.as_millis() as u64;
        (entry.dies, entry.weight) = (Instant::now() + time, weight);
        self.room.take(entry.weight);
        self.index.add(&entry.record, entry.dies);
    }

    fn remove(&mut self, id: CorrelationId) {
        let Some(entry) = self.records.remove(&id) else { return };
        self.index.remove(&entry.record, entry.dies);
        self.room.give_back(entry.weight);
        self.cancelling.remove(&id);
        if let Some(key) = &entry.key {
            self.keys.free(key, id);
        }
    }

    #[cfg(test)]
    pub(super) fn assert_empty(&self) {
        assert!(self.records.is_empty() && self.index.is_empty() && self.keys.is_empty());
        assert!(self.cancelling.is_empty() && self.room.is_empty(), "{self:?}");
    }

    fn tell(&self, change: Change) {
        // Nobody listens, most of the time.
        let _ = self.changes.send(change);
    }
}
