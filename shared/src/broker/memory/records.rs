//! Records of the embedded backend.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::broadcast;

use crate::broker::records::{cancelled, never_began, too_large};
use crate::broker::{
    Accepted, Begun, Cancelled, Change, EntryId, IdempotencyKey, Noted, Progress, Record, Retention, Status,
};
use crate::message::{Budget, CorrelationId, Fault, Reply};

/// Records that are kept in memory; of those that have ended, the oldest go first.
const MAX_RECORDS: usize = 10_000;

/// Changes that a reader may lie behind before it has to read again what matters to it.
const MAX_BEHIND: usize = 4096;

#[derive(Debug)]
pub(super) struct Kept {
    retention: Retention,
    records: BTreeMap<CorrelationId, Entry>,
    keys: HashMap<[u8; 32], Claim>,
    cancelling: HashSet<CorrelationId>,
    pub(super) changes: broadcast::Sender<Change>,
}

#[derive(Debug)]
struct Entry {
    record: Record,
    place: Option<EntryId>,
    key: Option<[u8; 32]>,
}

#[derive(Debug)]
struct Claim {
    id: CorrelationId,
    fingerprint: [u8; 32],
    expires: u64,
}

impl Default for Kept {
    fn default() -> Self {
        Self::new(Retention::default())
    }
}

impl Kept {
    pub(super) fn new(retention: Retention) -> Self {
        Self {
            retention,
            records: BTreeMap::new(),
            keys: HashMap::new(),
            cancelling: HashSet::new(),
            changes: broadcast::channel(MAX_BEHIND).0,
        }
    }

    /// What an idempotency key says about a request; `None` where it is new.
    pub(super) fn known(&self, key: &IdempotencyKey) -> Option<Accepted> {
        let claim = self.keys.get(&key.name).filter(|claim| claim.expires > millis())?;
        self.records
            .contains_key(&claim.id)
            .then(|| match claim.fingerprint == key.fingerprint {
                true => Accepted::Known(claim.id),
                false => Accepted::Conflict,
            })
    }

    pub(super) fn accept(&mut self, id: CorrelationId, place: EntryId, budget: Budget, key: Option<&IdempotencyKey>) {
        let claim = key.map(|key| {
            // Who repeats a call within its time finds it.
            let lives = (self.retention.keys.as_millis() as u64).max(budget.as_millis());
            let expires = millis() + lives;
            let (name, fingerprint) = (key.name, key.fingerprint);
            self.keys.insert(
                name,
                Claim {
                    id,
                    fingerprint,
                    expires,
                },
            );
            name
        });
        self.insert(id, Status::Queued, Some(place), budget, 0, claim);
    }

    pub(super) fn insert(
        &mut self,
        id: CorrelationId,
        status: Status,
        place: Option<EntryId>,
        budget: Budget,
        attempts: u32,
        key: Option<[u8; 32]>,
    ) {
        if self.records.contains_key(&id) {
            return;
        }
        if self.records.len() >= MAX_RECORDS {
            let oldest = self.records.iter().find(|(_, entry)| entry.record.status.is_final());
            if let Some(oldest) = oldest.map(|(id, _)| *id) {
                self.remove(oldest);
            }
        }
        let now = millis();
        let working = status == Status::Processing;
        let record = Record {
            id,
            status,
            created: place.map_or(now, |place| place.millis),
            started: working.then_some(Noted { at: now, version: 2 }),
            finished: None,
            expires: now + budget.as_millis() + self.retention.results.as_millis() as u64,
            attempts,
            progress: None,
            cancel_requested: false,
            has_key: key.is_some(),
            version: if working { 2 } else { 1 },
            outcome: None,
        };
        self.records.insert(id, Entry { record, place, key });
        self.tell(Change::Record(id));
    }

    pub(super) fn begin(&mut self, id: CorrelationId, attempt: u32) -> Begun {
        let Some(entry) = self.records.get_mut(&id) else {
            return if self.cancelling.contains(&id) {
                Begun::Over
            } else {
                Begun::Go
            };
        };
        let record = &mut entry.record;
        if record.status.is_final() || record.cancel_requested {
            return Begun::Over;
        }
        record.status = Status::Processing;
        record.attempts = attempt;
        record.progress = None;
        record.version += 1;
        record.started = Some(Noted {
            at: millis(),
            version: record.version,
        });
        self.tell(Change::Record(id));
        Begun::Go
    }

    pub(super) fn note_progress(&mut self, id: CorrelationId, progress: &Progress) {
        let working = |entry: &&mut Entry| entry.record.status == Status::Processing;
        if let Some(entry) = self.records.get_mut(&id).filter(working) {
            entry.record.version += 1;
            entry.record.progress = Some((progress.clone(), entry.record.version));
            self.tell(Change::Record(id));
        }
    }

    pub(super) fn finish(&mut self, reply: &Reply) -> bool {
        let id = reply.id;
        let running = |entry: &&mut Entry| !entry.record.status.is_final();
        let Some(entry) = self.records.get_mut(&id).filter(running) else {
            return false;
        };
        let outcome = match &reply.outcome {
            Ok(data) if data.len() > self.retention.max_result => Err(too_large()),
            outcome => outcome.clone(),
        };
        let (record, now) = (&mut entry.record, millis());
        record.version += 1;
        record.status = Status::of(&outcome);
        record.finished = Some(Noted {
            at: now,
            version: record.version,
        });
        record.expires = now + self.retention.results.as_millis() as u64;
        // The same call may come again under its key.
        let freed = entry.key.take_if(|_| never_began(&outcome, record.attempts));
        record.has_key = entry.key.is_some();
        record.outcome = Some(outcome);
        if let Some(key) = freed {
            self.free(id, key);
        }
        self.cancelling.remove(&id);
        self.tell(Change::Record(id));
        true
    }

    /// A request that had ended is in the stream again.
    pub(super) fn reopen(&mut self, id: CorrelationId, place: EntryId) {
        let ended = |entry: &&mut Entry| entry.record.status.is_final();
        if let Some(entry) = self.records.get_mut(&id).filter(ended) {
            let record = &mut entry.record;
            record.version += 1;
            (record.status, record.finished, record.outcome) = (Status::Queued, None, None);
            record.cancel_requested = false;
            entry.place = Some(place);
            self.tell(Change::Record(id));
        }
    }

    pub(super) fn place(&self, id: CorrelationId) -> Option<EntryId> {
        self.records.get(&id)?.place
    }

    pub(super) fn status(&self, id: CorrelationId) -> Option<Status> {
        Some(self.records.get(&id)?.record.status)
    }

    /// Notes a wish to end what is at work.
    pub(super) fn wish(&mut self, id: CorrelationId) -> Cancelled {
        if let Some(entry) = self.records.get_mut(&id) {
            entry.record.cancel_requested = true;
            entry.record.version += 1;
            self.tell(Change::Record(id));
        }
        self.cancelling.insert(id);
        self.tell(Change::Cancel(id));
        Cancelled::Asked
    }

    pub(super) fn forget_wish(&mut self, id: CorrelationId) {
        self.cancelling.remove(&id);
    }

    pub(super) fn cancelling(&self, ids: &[CorrelationId]) -> Vec<CorrelationId> {
        ids.iter().filter(|id| self.cancelling.contains(id)).copied().collect()
    }

    pub(super) fn record(&self, id: CorrelationId) -> Option<Record> {
        self.records.get(&id).map(|entry| entry.record.clone())
    }

    pub(super) fn list(&self, status: Option<Status>, before: Option<CorrelationId>, max: usize) -> Vec<Record> {
        let all = self.records.values().rev().map(|entry| &entry.record);
        let wanted = all.filter(|record| {
            before.is_none_or(|before| record.id < before) && status.is_none_or(|status| record.status == status)
        });
        let without_result = |record: &Record| Record {
            outcome: None,
            ..record.clone()
        };
        wanted.take(max).map(without_result).collect()
    }

    pub(super) fn sweep(&mut self) -> usize {
        let now = millis();
        self.keys.retain(|_, claim| claim.expires > now);
        let expired = self.records.iter().filter(|(_, entry)| entry.record.expires <= now);
        let expired: Vec<_> = expired.map(|(id, _)| *id).collect();
        expired.iter().for_each(|id| self.remove(*id));
        expired.len()
    }

    fn remove(&mut self, id: CorrelationId) {
        let key = self.records.remove(&id).and_then(|entry| entry.key);
        if let Some(key) = key {
            self.free(id, key);
        }
    }

    /// Removes a key, unless it names another request by now.
    fn free(&mut self, id: CorrelationId, key: [u8; 32]) {
        if self.keys.get(&key).is_some_and(|claim| claim.id == id) {
            self.keys.remove(&key);
        }
    }

    fn tell(&self, change: Change) {
        // Nobody listens, most of the time.
        let _ = self.changes.send(change);
    }
}

/// The fault of a request that was cancelled.
pub(super) fn cancelled_reply(id: CorrelationId) -> Reply {
    let outcome: Result<_, Fault> = Err(cancelled());
    Reply { id, outcome }
}

fn millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_millis() as u64
}
