//! What the embedded backend holds: entries that wait, entries that are claimed, replies, dead letters.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::beginning::Beginning;
use super::letters::Letter;
use super::results::Kept;
use super::room::{self, Room};
use crate::broker::{
    Acceptance, Accepted, BrokerError, BrokerErrorKind, Consumer, Delivery, Dropped, EntryId, Malformed, Receipt,
    Retention, Settlement,
};
use crate::message::{Keep, Reply, ReplyTo, Request};

pub(super) type Content = Result<Request, Malformed>;

#[derive(Debug)]
pub(super) struct State {
    last: EntryId,
    /// Of what waits and what is claimed.
    room: Room,
    pub(super) waiting: VecDeque<(EntryId, Entry)>,
    pub(super) claimed: BTreeMap<EntryId, Claim>,
    pub(super) replies: HashMap<ReplyTo, Mailbox>,
    pub(super) letters: BTreeMap<EntryId, Letter>,
    pub(super) letters_room: Room,
    pub(super) completed: u64,
    pub(super) discarded: u64,
    pub(super) kept: Kept,
    /// Those who claim, with their terminals. They live as long as the process, and leave with it.
    pub(super) workers: HashMap<Consumer, u32>,
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

impl State {
    /// Nothing, with `memory_limit` shared out: each has room that the others cannot take.
    pub(super) fn new(retention: Retention) -> Self {
        let eighth = retention.memory_limit / 8;
        Self {
            last: EntryId::default(),
            room: Room::new(2 * eighth),
            waiting: VecDeque::new(),
            claimed: BTreeMap::new(),
            replies: HashMap::new(),
            letters: BTreeMap::new(),
            letters_room: Room::new(eighth),
            completed: 0,
            discarded: 0,
            kept: Kept::new(retention, 5 * eighth),
            workers: HashMap::new(),
        }
    }

    /// Whether there is room for requests to wait in. A lone one finds it wherever nothing else is, however large it
    /// is.
    pub(super) fn has_room<'a>(&self, requests: impl Iterator<Item = &'a Request>) -> bool {
        let (count, bytes) = requests.fold((0, 0), |(count, bytes), request| {
            (count + 1, bytes + room::of_request(request))
        });
        self.room.fits(bytes) || (count == 1 && self.room.is_empty())
    }

    /// Puts a request into the queue with its record, unless its key is known, which needs no room.
    pub(super) fn submit(&mut self, acceptance: &Acceptance) -> Result<Accepted, BrokerError> {
        let Acceptance { request, key } = acceptance;
        if let Some(known) = key.as_ref().and_then(|key| self.kept.known(key)) {
            return Ok(known);
        }
        if !self.has_room(std::iter::once(request)) || !self.kept.has_room(1) {
            return Err(full("publish with a record"));
        }
        let place = self.append(Ok(request.clone()));
        let beginning = Beginning {
            id: request.id,
            budget: request.budget,
            place: Some(place),
            attempts: 0,
        };
        self.kept.begin_record(&beginning, key.as_ref());
        Ok(Accepted::As(place))
    }

    pub(super) fn append(&mut self, content: Content) -> EntryId {
        self.room.take(room::of_entry(&content));
        let id = self.next_id();
        let accepted = Instant::now();
        self.waiting.push_back((id, Entry { content, accepted }));
        id
    }

    #[cfg(test)]
    pub(super) fn rooms_are_empty(&self) -> bool {
        self.room.is_empty() && self.letters_room.is_empty()
    }

    pub(super) fn next_id(&mut self) -> EntryId {
        let millis = millis();
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

    pub(super) fn deregister(&mut self, consumer: &Consumer) {
        self.workers.remove(consumer);
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
        self.room.give_back(room::of_entry(&claim.entry.content));
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
        // Whoever waits and was only away may promise the result when it is back.
        if !self.replies.contains_key(reply_to) && self.kept.store(&reply, settlement.may_have_begun) {
            return;
        }
        if settlement.keep != Keep::No {
            self.kept.complete(&reply, settlement.may_have_begun);
        }
        if settlement.keep != Keep::Only {
            self.deliver(reply_to, reply);
        }
    }

    /// What the requests take that wait or are claimed.
    pub(super) fn bytes(&self) -> usize {
        self.room.taken()
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
        let at = self.find_waiting(id)?;
        let (_, entry) = self.waiting.remove(at)?;
        self.completed += 1;
        self.room.give_back(room::of_entry(&entry.content));
        Some(entry.content)
    }

    /// Where an entry waits, if it does. They wait in the order of their ids.
    pub(super) fn find_waiting(&self, id: EntryId) -> Option<usize> {
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

/// There is no room. Nobody is at fault, and everything else goes on.
pub(super) fn full(operation: &'static str) -> BrokerError {
    let cause = "there is no room in memory for another request, or its record (MEMORY_LIMIT)";
    BrokerError::new(BrokerErrorKind::Full, operation, cause)
}

/// Now, in milliseconds since the Unix epoch: for people, and for ids. Expiry goes by a clock that nobody sets.
pub(super) fn millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_millis() as u64
}
