//! The queue of one operation: entries that wait, entries that are claimed, and who claims.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::room::{self, Content};
use crate::broker::{Consumer, Delivery, Depth, Dropped, EntryId, Position, Receipt};
use crate::operation::OperationName;

#[derive(Debug)]
pub(super) struct Line {
    operation: OperationName,
    /// In the order of their ids.
    waiting: VecDeque<(EntryId, Entry)>,
    claimed: BTreeMap<EntryId, Claim>,
    completed: u64,
    pub(super) discarded: u64,
    bytes: usize,
    /// Those who claim, with their terminals. They live as long as the process, and leave with it.
    pub(super) workers: HashMap<Consumer, u32>,
    pub(super) arrived: Arc<Notify>,
}

#[derive(Debug, Clone)]
struct Entry {
    content: Content,
    accepted: Instant,
}

#[derive(Debug)]
pub(super) struct Claim {
    entry: Entry,
    consumer: Consumer,
    pub(super) attempt: u32,
    /// When the lease was last renewed; `None` once it was handed back.
    renewed: Option<Instant>,
}

impl Line {
    pub(super) fn new(operation: OperationName) -> Self {
        Self {
            operation,
            waiting: VecDeque::new(),
            claimed: BTreeMap::new(),
            completed: 0,
            discarded: 0,
            bytes: 0,
            workers: HashMap::new(),
            arrived: Arc::default(),
        }
    }

    pub(super) fn append(&mut self, at: Position, content: Content) -> EntryId {
        self.bytes += room::of_entry(&content);
        let (id, accepted) = (EntryId::of(self.operation, at), Instant::now());
        self.waiting.push_back((id, Entry { content, accepted }));
        self.arrived.notify_one();
        id
    }

    pub(super) fn claim(&mut self, consumer: &Consumer, max: usize) -> Vec<Delivery> {
        let count = max.min(self.waiting.len());
        let now = Instant::now();
        let taken: Vec<_> = self.waiting.drain(..count).collect();
        if !self.waiting.is_empty() {
            // What is left, another waiting consumer takes now.
            self.arrived.notify_one();
        }
        let deliver = |(id, entry): (EntryId, Entry)| {
            let mut claim = Claim {
                entry,
                consumer: consumer.clone(),
                attempt: 1,
                renewed: Some(now),
            };
            let delivery = claim.deliver(id, 1, now);
            self.claimed.insert(id, claim);
            delivery
        };
        taken.into_iter().map(deliver).collect()
    }

    pub(super) fn claim_due(&mut self, consumer: &Consumer, within: Duration, max: usize) -> Vec<Delivery> {
        let soon = Instant::now() + within;
        let is_due = |entry: &Entry| match &entry.content {
            Ok(request) => entry.accepted + request.budget.as_duration() <= soon,
            Err(_) => true,
        };
        let due = self.waiting.iter().take_while(|(_, entry)| is_due(entry)).count();
        self.claim(consumer, due.min(max))
    }

    pub(super) fn recover(&self, consumer: &Consumer, held: &HashSet<EntryId>, max: usize) -> Vec<Dropped> {
        let given = self
            .claimed
            .iter()
            .filter(|(id, claim)| claim.consumer == *consumer && claim.renewed.is_some() && !held.contains(id));
        given.take(max).map(|(id, claim)| claim.dropped(*id)).collect()
    }

    pub(super) fn reclaim(&mut self, consumer: &Consumer, idle: Duration, max: usize) -> Vec<Dropped> {
        let now = Instant::now();
        let dropped = self.claimed.iter_mut().filter(|(_, claim)| claim.is_idle(idle, now));
        let take_over = |(id, claim): (&EntryId, &mut Claim)| {
            claim.consumer = consumer.clone();
            claim.renewed = Some(now);
            claim.dropped(*id)
        };
        dropped.take(max).map(take_over).collect()
    }

    pub(super) fn redeliver(&mut self, consumer: &Consumer, attempts: &[(EntryId, u32)]) -> Vec<Delivery> {
        let now = Instant::now();
        let deliver = |(id, attempt): &(EntryId, u32)| Some(self.owned(consumer, *id)?.deliver(*id, *attempt, now));
        attempts.iter().filter_map(deliver).collect()
    }

    /// The claim of an entry, if it is this consumer's.
    pub(super) fn owned(&mut self, consumer: &Consumer, id: EntryId) -> Option<&mut Claim> {
        self.claimed.get_mut(&id).filter(|claim| claim.consumer == *consumer)
    }

    /// Ends a claim, if it is its consumer's; returns what was in the entry.
    pub(super) fn settle(&mut self, receipt: &Receipt) -> Option<Content> {
        self.owned(&receipt.consumer, receipt.entry)?;
        let claim = self.claimed.remove(&receipt.entry)?;
        Some(self.removed(claim.entry.content))
    }

    pub(super) fn deregister(&mut self, consumer: &Consumer) {
        self.workers.remove(consumer);
        let in_hand = |claim: &&mut Claim| claim.consumer == *consumer && claim.renewed.is_some();
        for claim in self.claimed.values_mut().filter(in_hand) {
            claim.release();
            claim.attempt = claim.attempt.saturating_sub(1).max(1);
        }
    }

    /// Takes an entry out that nobody has claimed yet.
    pub(super) fn take_waiting(&mut self, id: EntryId) -> Option<Content> {
        let at = self.find_waiting(id)?;
        let (_, entry) = self.waiting.remove(at)?;
        Some(self.removed(entry.content))
    }

    /// Which delivery an entry is at: 0 while it waits. What neither waits nor is claimed has been settled: its reply
    /// is under way.
    pub(super) fn attempts(&self, id: EntryId) -> u32 {
        match self.find_waiting(id) {
            Some(_) => 0,
            None => self.claimed.get(&id).map_or(1, |claim| claim.attempt),
        }
    }

    pub(super) fn is_claimed(&self, id: EntryId) -> bool {
        self.claimed.contains_key(&id)
    }

    /// What there is of it in this queue, and in no other.
    pub(super) fn depth(&self) -> Depth {
        Depth {
            waiting: self.waiting.len() as u64,
            claimed: self.claimed.len() as u64,
            oldest_waiting: self.waiting.front().map(|(_, entry)| entry.accepted.elapsed()),
            completed: Some(self.completed),
            discarded: self.discarded,
            bytes: self.bytes as u64,
            workers: self.workers.len() as u64,
            terminals: self.workers.values().copied().map(u64::from).sum(),
            ..Depth::default()
        }
    }

    fn removed(&mut self, content: Content) -> Content {
        self.completed += 1;
        self.bytes -= room::of_entry(&content);
        content
    }

    fn find_waiting(&self, id: EntryId) -> Option<usize> {
        self.waiting.binary_search_by_key(&id, |(waiting, _)| *waiting).ok()
    }
}

impl Claim {
    /// Hands the entry to its consumer, as an attempt.
    fn deliver(&mut self, id: EntryId, attempt: u32, now: Instant) -> Delivery {
        self.attempt = attempt;
        self.renewed = Some(now);
        Delivery {
            receipt: Receipt {
                entry: id,
                consumer: self.consumer.clone(),
                claimed: now,
            },
            attempt,
            waited: now - self.entry.accepted,
            content: self.entry.content.clone(),
        }
    }

    fn dropped(&self, entry: EntryId) -> Dropped {
        Dropped {
            entry,
            deliveries: self.attempt,
        }
    }

    pub(super) fn renew(&mut self) {
        self.renewed = Some(Instant::now());
    }

    pub(super) fn release(&mut self) {
        self.renewed = None;
    }

    fn is_idle(&self, idle: Duration, now: Instant) -> bool {
        self.renewed.is_none_or(|renewed| now - renewed >= idle)
    }
}
