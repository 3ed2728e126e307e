//! The embedded backend: everything lives in this process and dies with it.
//! It keeps the same promises as the durable one, so that code tested on it behaves the same there.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::{
    Broker, BrokerError, Consumer, DeadLetter, Delivery, Depth, EntryId, MAX_WAIT, Malformed, Receipt, ReplyStream,
    Settlement,
};
use crate::message::{Reply, ReplyTo, Request};

/// Dead letters kept in memory; the oldest go first, as this process has nothing but its own memory.
const MAX_DEAD_LETTERS: usize = 10_000;

/// A broker without a server.
#[derive(Debug, Default)]
pub struct MemoryBroker {
    store: Arc<Store>,
}

#[derive(Debug, Default)]
struct Store {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct State {
    last: EntryId,
    waiting: VecDeque<(EntryId, Entry)>,
    claimed: BTreeMap<EntryId, Claim>,
    replies: HashMap<ReplyTo, Mailbox>,
    dead_letters: VecDeque<DeadLetter>,
    completed: u64,
}

#[derive(Debug, Clone)]
struct Entry {
    content: Result<Request, Malformed>,
    accepted: Instant,
}

#[derive(Debug)]
struct Claim {
    entry: Entry,
    consumer: Consumer,
    attempt: u32,
    /// When the lease was last renewed; `None` once it was handed back.
    renewed: Option<Instant>,
}

#[derive(Debug, Default)]
struct Mailbox {
    replies: VecDeque<Reply>,
    arrived: Arc<Notify>,
}

impl MemoryBroker {
    /// An empty broker.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts in an entry that is no request, as a careless hand could on a real server.
    #[cfg(feature = "test-util")]
    pub fn put_malformed(&self, malformed: Malformed) {
        let mut state = self.store.lock();
        state.append(Err(malformed));
        drop(state);
        self.store.arrived.notify_one();
    }
}

impl Store {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the store")
    }

    fn claim(&self, consumer: &Consumer, max: usize) -> Vec<Delivery> {
        let mut state = self.lock();
        let deliveries = state.claim(consumer, max);
        if !state.waiting.is_empty() {
            // What we leave, another waiting consumer takes now.
            self.arrived.notify_one();
        }
        deliveries
    }
}

impl State {
    fn append(&mut self, content: Result<Request, Malformed>) {
        let millis = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64);
        let id = if millis > self.last.millis {
            EntryId { millis, sequence: 0 }
        } else {
            self.last.next()
        };
        self.last = id;
        let accepted = Instant::now();
        self.waiting.push_back((id, Entry { content, accepted }));
    }

    fn claim(&mut self, consumer: &Consumer, max: usize) -> Vec<Delivery> {
        let count = max.min(self.waiting.len());
        let now = Instant::now();
        let taken: Vec<_> = self.waiting.drain(..count).collect();
        taken
            .into_iter()
            .map(|(id, entry)| {
                let mut claim = Claim {
                    entry,
                    consumer: consumer.clone(),
                    attempt: 0,
                    renewed: None,
                };
                let delivery = claim.deliver(id, consumer, now);
                self.claimed.insert(id, claim);
                delivery
            })
            .collect()
    }

    fn settle(&mut self, settlement: &Settlement) {
        let receipt = &settlement.receipt;
        let owned = self
            .claimed
            .get(&receipt.entry)
            .is_some_and(|claim| claim.consumer == receipt.consumer);
        if !owned {
            return;
        }
        self.claimed.remove(&receipt.entry);
        self.completed += 1;
        if let Some(letter) = &settlement.dead_letter {
            if self.dead_letters.len() == MAX_DEAD_LETTERS {
                self.dead_letters.pop_front();
            }
            self.dead_letters.push_back(letter.clone());
        }
        // A requester that is gone has no mailbox: nobody would ever read, or empty, a new one.
        if let Some((reply_to, reply)) = &settlement.reply
            && let Some(mailbox) = self.replies.get_mut(reply_to)
        {
            mailbox.replies.push_back(reply.clone());
            mailbox.arrived.notify_one();
        }
    }
}

impl Claim {
    /// Hands the entry to `consumer`, as one more attempt.
    fn deliver(&mut self, id: EntryId, consumer: &Consumer, now: Instant) -> Delivery {
        self.consumer = consumer.clone();
        self.attempt += 1;
        self.renewed = Some(now);
        Delivery {
            receipt: Receipt {
                entry: id,
                consumer: consumer.clone(),
                claimed: now,
            },
            attempt: self.attempt,
            waited: now - self.entry.accepted,
            content: self.entry.content.clone(),
        }
    }

    fn is_idle(&self, idle: Duration, now: Instant) -> bool {
        self.renewed.is_none_or(|renewed| now - renewed >= idle)
    }
}

#[async_trait]
impl Broker for MemoryBroker {
    async fn publish(&self, requests: &[Request]) -> Result<(), BrokerError> {
        let mut state = self.store.lock();
        for request in requests {
            state.append(Ok(request.clone()));
        }
        drop(state);
        self.store.arrived.notify_one();
        Ok(())
    }

    async fn claim(&self, consumer: &Consumer, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        let first = async {
            loop {
                let arrived = self.store.arrived.notified();
                let deliveries = self.store.claim(consumer, max);
                if !deliveries.is_empty() || max == 0 {
                    return deliveries;
                }
                arrived.await;
            }
        };
        Ok(timeout(MAX_WAIT, first).await.unwrap_or_default())
    }

    async fn recover(
        &self,
        consumer: &Consumer,
        held: &HashSet<EntryId>,
        max: usize,
    ) -> Result<Vec<Delivery>, BrokerError> {
        let now = Instant::now();
        let mut state = self.store.lock();
        let given = state
            .claimed
            .iter_mut()
            .filter(|(_, claim)| claim.consumer == *consumer);
        let lost = given.filter(|(id, _)| !held.contains(id)).take(max);
        Ok(lost.map(|(id, claim)| claim.deliver(*id, consumer, now)).collect())
    }

    async fn reclaim(&self, consumer: &Consumer, idle: Duration, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        let now = Instant::now();
        let mut state = self.store.lock();
        let dropped = state.claimed.iter_mut().filter(|(_, claim)| claim.is_idle(idle, now));
        Ok(dropped
            .take(max)
            .map(|(id, claim)| claim.deliver(*id, consumer, now))
            .collect())
    }

    async fn renew(&self, consumer: &Consumer, receipts: &[Receipt]) -> Result<usize, BrokerError> {
        let now = Instant::now();
        let mut state = self.store.lock();
        let mut renewed = 0;
        for receipt in receipts {
            if let Some(claim) = state.claimed.get_mut(&receipt.entry)
                && claim.consumer == *consumer
            {
                claim.renewed = Some(now);
                renewed += 1;
            }
        }
        Ok(renewed)
    }

    async fn leave(&self, consumer: &Consumer) -> Result<(), BrokerError> {
        let mut state = self.store.lock();
        let held = state.claimed.values_mut().filter(|claim| claim.consumer == *consumer);
        held.for_each(|claim| claim.renewed = None);
        Ok(())
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<(), BrokerError> {
        let mut state = self.store.lock();
        settlements.iter().for_each(|settlement| state.settle(settlement));
        Ok(())
    }

    fn replies(&self, reply_to: &ReplyTo) -> Box<dyn ReplyStream> {
        let mut state = self.store.lock();
        let arrived = state.replies.entry(reply_to.clone()).or_default().arrived.clone();
        Box::new(MemoryReplies {
            store: self.store.clone(),
            reply_to: reply_to.clone(),
            arrived,
        })
    }

    async fn depth(&self) -> Result<Depth, BrokerError> {
        let state = self.store.lock();
        Ok(Depth {
            waiting: state.waiting.len() as u64,
            claimed: state.claimed.len() as u64,
            dead_letters: state.dead_letters.len() as u64,
            oldest_waiting: state.waiting.front().map(|(_, entry)| entry.accepted.elapsed()),
            completed: Some(state.completed),
        })
    }

    async fn ping(&self) -> Result<Duration, BrokerError> {
        let started = Instant::now();
        drop(self.store.lock());
        Ok(started.elapsed())
    }
}

struct MemoryReplies {
    store: Arc<Store>,
    reply_to: ReplyTo,
    arrived: Arc<Notify>,
}

#[async_trait]
impl ReplyStream for MemoryReplies {
    async fn next(&mut self) -> Result<Vec<Reply>, BrokerError> {
        let first = async {
            loop {
                let arrived = self.arrived.notified();
                if let Some(mailbox) = self.store.lock().replies.get_mut(&self.reply_to)
                    && !mailbox.replies.is_empty()
                {
                    return mailbox.replies.drain(..).collect();
                }
                arrived.await;
            }
        };
        Ok(timeout(MAX_WAIT, first).await.unwrap_or_default())
    }

    async fn close(&mut self) -> Result<(), BrokerError> {
        self.store.lock().replies.remove(&self.reply_to);
        Ok(())
    }
}
