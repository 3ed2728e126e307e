//! What the embedded backend holds: entries that wait, entries that are claimed, replies, dead letters.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::records::Kept;
use crate::broker::{Consumer, DeadLetter, Delivery, Dropped, EntryId, Malformed, Receipt, Settlement, StoredLetter};
use crate::message::{Keep, Reply, ReplyTo, Request};

/// Dead letters kept in memory; the oldest go first, as this process has nothing but its own memory.
const MAX_DEAD_LETTERS: usize = 10_000;

pub(super) type Content = Result<Request, Malformed>;

#[derive(Debug, Default)]
pub(super) struct State {
    last: EntryId,
    pub(super) waiting: VecDeque<(EntryId, Entry)>,
    pub(super) claimed: BTreeMap<EntryId, Claim>,
    pub(super) replies: HashMap<ReplyTo, Mailbox>,
    pub(super) letters: BTreeMap<EntryId, Letter>,
    pub(super) completed: u64,
    pub(super) discarded: u64,
    pub(super) kept: Kept,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) content: Content,
    pub(super) accepted: Instant,
}

#[derive(Debug)]
pub(super) struct Claim {
    pub(super) entry: Entry,
    consumer: Consumer,
    pub(super) attempt: u32,
    /// When the lease was last renewed; `None` once it was handed back.
    renewed: Option<Instant>,
}

#[derive(Debug, Default)]
pub(super) struct Mailbox {
    pub(super) replies: VecDeque<Reply>,
    pub(super) arrived: Arc<Notify>,
}

/// A dead letter, with what it was.
#[derive(Debug)]
pub(super) struct Letter {
    entry: EntryId,
    letter: DeadLetter,
    pub(super) content: Content,
}

impl State {
    pub(super) fn append(&mut self, content: Content) -> EntryId {
        let id = self.next_id();
        let accepted = Instant::now();
        self.waiting.push_back((id, Entry { content, accepted }));
        id
    }

    fn next_id(&mut self) -> EntryId {
        let millis = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64);
        self.last = if millis > self.last.millis {
            EntryId { millis, sequence: 0 }
        } else {
            self.last.next()
        };
        self.last
    }

    pub(super) fn claim(&mut self, consumer: &Consumer, max: usize) -> Vec<Delivery> {
        let count = max.min(self.waiting.len());
        let now = Instant::now();
        let taken: Vec<_> = self.waiting.drain(..count).collect();
        taken
            .into_iter()
            .map(|(id, entry)| {
                let mut claim = Claim {
                    entry,
                    consumer: consumer.clone(),
                    attempt: 1,
                    renewed: Some(now),
                };
                let delivery = claim.deliver(id, 1, now);
                self.claimed.insert(id, claim);
                delivery
            })
            .collect()
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
        dropped
            .take(max)
            .map(|(id, claim)| {
                claim.consumer = consumer.clone();
                claim.renewed = Some(now);
                claim.dropped(*id)
            })
            .collect()
    }

    pub(super) fn redeliver(&mut self, consumer: &Consumer, attempts: &[(EntryId, u32)]) -> Vec<Delivery> {
        let now = Instant::now();
        let mut deliveries = Vec::with_capacity(attempts.len());
        for (id, attempt) in attempts {
            if let Some(claim) = self.owned(consumer, *id) {
                deliveries.push(claim.deliver(*id, *attempt, now));
            }
        }
        deliveries
    }

    /// The claim of an entry, if it is this consumer's.
    pub(super) fn owned(&mut self, consumer: &Consumer, id: EntryId) -> Option<&mut Claim> {
        self.claimed.get_mut(&id).filter(|claim| claim.consumer == *consumer)
    }

    pub(super) fn leave(&mut self, consumer: &Consumer) {
        let in_hand = |claim: &&mut Claim| claim.consumer == *consumer && claim.renewed.is_some();
        for claim in self.claimed.values_mut().filter(in_hand) {
            claim.release();
            claim.attempt = claim.attempt.saturating_sub(1).max(1);
        }
    }

    pub(super) fn settle(&mut self, settlement: &Settlement) {
        let receipt = &settlement.receipt;
        if self.owned(&receipt.consumer, receipt.entry).is_none() {
            return;
        }
        let Some(claim) = self.claimed.remove(&receipt.entry) else {
            return;
        };
        self.completed += 1;
        self.discarded += u64::from(settlement.is_discard());
        let letter = settlement
            .dead_letter
            .as_ref()
            .map(|letter| self.keep(receipt.entry, letter, claim.entry.content));
        let Some((reply_to, reply)) = &settlement.reply else {
            return;
        };
        let mut reply = reply.clone();
        if let (Err(fault), Some(letter)) = (&mut reply.outcome, letter) {
            fault.dead_letter = Some(letter.to_string());
        }
        self.kept.forget_wish(reply.id);
        if settlement.keep != Keep::No || !self.replies.contains_key(reply_to) {
            self.kept.finish(&reply);
        }
        if settlement.keep != Keep::Only {
            self.deliver(reply_to, reply);
        }
    }

    /// What the requests take that wait or are claimed.
    pub(super) fn bytes(&self) -> u64 {
        let waiting = self.waiting.iter().map(|(_, entry)| entry);
        let all = waiting.chain(self.claimed.values().map(|claim| &claim.entry));
        let requests = all.filter_map(|entry| entry.content.as_ref().ok());
        requests.map(|request| request.data.len() as u64).sum()
    }

    /// A requester that is gone has no mailbox: nobody would ever read, or empty, a new one.
    pub(super) fn deliver(&mut self, reply_to: &ReplyTo, reply: Reply) {
        if let Some(mailbox) = self.replies.get_mut(reply_to) {
            mailbox.replies.push_back(reply);
            mailbox.arrived.notify_one();
        }
    }

    /// Takes an entry out that nobody has claimed yet.
    pub(super) fn take_waiting(&mut self, id: EntryId) -> Option<Content> {
        let at = self.waiting.iter().position(|(waiting, _)| *waiting == id)?;
        self.completed += 1;
        self.waiting.remove(at).map(|(_, entry)| entry.content)
    }

    fn keep(&mut self, entry: EntryId, letter: &DeadLetter, content: Content) -> EntryId {
        if self.letters.len() == MAX_DEAD_LETTERS {
            self.letters.pop_first();
        }
        let (id, letter) = (self.next_id(), letter.clone());
        self.letters.insert(id, Letter { entry, letter, content });
        id
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
