//! The embedded backend: everything lives in this process and dies with it.
//! It keeps the same promises as the durable one, so that code tested on it behaves the same there.

mod beginning;
mod changes;
mod index;
mod keys;
mod letters;
mod replies;
mod results;
mod room;
mod state;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::{
    Acceptance, Accepted, Adoption, Broker, BrokerError, CancelOutcome, Changes, Consumer, Delivery, Depth, Dropped,
    EntryId, MAX_WAIT, Maintained, Progress, Purged, Receipt, Record, ReplyStream, ResultStore, Retention, Role,
    Settlement, Shortcoming, Started, Status,
};
use crate::broker::result_store::cancelled;
use crate::message::{Budget, CorrelationId, Keep, Reply, ReplyTo, Request};
use beginning::Beginning;
use changes::MemoryChanges;
use replies::MemoryReplies;
use state::{State, full};

/// A broker without a server.
#[derive(Debug)]
pub struct MemoryBroker {
    store: Arc<Store>,
}

#[derive(Debug)]
struct Store {
    state: Mutex<State>,
    arrived: Notify,
}

impl MemoryBroker {
    /// An empty broker.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Retention::default())
    }

    /// An empty broker that keeps records for so long, and so much of everything.
    #[must_use]
    pub fn with(retention: Retention) -> Self {
        Self {
            store: Arc::new(Store {
                state: Mutex::new(State::new(retention)),
                arrived: Notify::new(),
            }),
        }
    }

    /// Puts in an entry that is no request, as a careless hand could on a real server.
    #[cfg(feature = "test-util")]
    pub fn put_malformed(&self, malformed: super::Malformed) {
        self.store.lock().append(Err(malformed));
        self.store.arrived.notify_one();
    }
}

impl Default for MemoryBroker {
    fn default() -> Self {
        Self::new()
    }
}

impl Store {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the store")
    }

    fn claim(&self, consumer: &Consumer, max: usize) -> Vec<Delivery> {
        let mut state = self.lock();
        let deliveries = state.claim(consumer, max);
        state.workers.entry(consumer.clone()).or_insert(0);
        if !state.waiting.is_empty() {
            // What we leave, another waiting consumer takes now.
            self.arrived.notify_one();
        }
        deliveries
    }
}

#[async_trait]
impl Broker for MemoryBroker {
    async fn publish(&self, requests: &[Request]) -> Result<Vec<EntryId>, BrokerError> {
        let mut state = self.store.lock();
        if !state.has_room(requests.iter()) {
            return Err(full("publish"));
        }
        let entries = requests.iter().map(|request| state.append(Ok(request.clone())));
        let entries = entries.collect();
        drop(state);
        self.store.arrived.notify_one();
        Ok(entries)
    }

    async fn prepare(&self) -> Result<bool, BrokerError> {
        Ok(false)
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

    async fn claim_due(&self, consumer: &Consumer, within: Duration, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        Ok(self.store.lock().claim_due(consumer, within, max))
    }

    async fn recover(
        &self,
        consumer: &Consumer,
        held: &HashSet<EntryId>,
        max: usize,
    ) -> Result<Vec<Dropped>, BrokerError> {
        Ok(self.store.lock().recover(consumer, held, max))
    }

    async fn reclaim(&self, consumer: &Consumer, idle: Duration, max: usize) -> Result<Vec<Dropped>, BrokerError> {
        Ok(self.store.lock().reclaim(consumer, idle, max))
    }

    async fn redeliver(&self, consumer: &Consumer, attempts: &[(EntryId, u32)]) -> Result<Vec<Delivery>, BrokerError> {
        Ok(self.store.lock().redeliver(consumer, attempts))
    }

    async fn renew(&self, consumer: &Consumer, receipts: &[Receipt]) -> Result<usize, BrokerError> {
        let mut state = self.store.lock();
        let mut renewed = 0;
        for receipt in receipts {
            if let Some(claim) = state.owned(consumer, receipt.entry) {
                claim.renew();
                renewed += 1;
            }
        }
        Ok(renewed)
    }

    async fn release(&self, consumer: &Consumer, entries: &[EntryId]) -> Result<(), BrokerError> {
        let mut state = self.store.lock();
        for entry in entries {
            if let Some(claim) = state.owned(consumer, *entry) {
                claim.release();
            }
        }
        Ok(())
    }

    async fn deregister(&self, consumer: &Consumer) -> Result<(), BrokerError> {
        self.store.lock().deregister(consumer);
        Ok(())
    }

    /// No entry can get out of all hands here, and consumers are only names.
    async fn maintain(&self, consumer: &Consumer, terminals: u32, _: Duration) -> Result<Maintained, BrokerError> {
        self.store.lock().workers.insert(consumer.clone(), terminals);
        Ok(Maintained::default())
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<(), BrokerError> {
        let mut state = self.store.lock();
        settlements.iter().for_each(|settlement| state.settle(settlement));
        Ok(())
    }

    /// A requester here lives as long as the process, and its mailbox with it.
    async fn heartbeat(&self, _: &ReplyTo) -> Result<Adoption, BrokerError> {
        Ok(Adoption::default())
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
            dead_letters: state.letters.len() as u64,
            oldest_waiting: state.waiting.front().map(|(_, entry)| entry.accepted.elapsed()),
            completed: Some(state.completed),
            discarded: state.discarded,
            bytes: state.bytes() as u64,
            memory: None,
            workers: state.workers.len() as u64,
            terminals: state.workers.values().copied().map(u64::from).sum(),
        })
    }

    async fn shortcomings(&self, _: Role) -> Result<Vec<Shortcoming>, BrokerError> {
        Ok(Vec::new())
    }

    async fn ping(&self) -> Result<Duration, BrokerError> {
        let started = Instant::now();
        drop(self.store.lock());
        Ok(started.elapsed())
    }
}

#[async_trait]
impl ResultStore for MemoryBroker {
    async fn submit(&self, requests: &[Acceptance]) -> Result<Vec<Result<Accepted, BrokerError>>, BrokerError> {
        let mut state = self.store.lock();
        let accepted = requests.iter().map(|acceptance| state.submit(acceptance)).collect();
        drop(state);
        self.store.arrived.notify_one();
        Ok(accepted)
    }

    async fn create(
        &self,
        id: CorrelationId,
        entry: Option<EntryId>,
        budget: Budget,
        _: &ReplyTo,
    ) -> Result<(), BrokerError> {
        let mut state = self.store.lock();
        let attempts = match entry {
            Some(entry) if state.find_waiting(entry).is_some() => 0,
            // What neither waits nor is claimed has been settled: its reply is under way.
            entry => entry
                .and_then(|entry| state.claimed.get(&entry))
                .map_or(1, |claim| claim.attempt),
        };
        if state.kept.status(id).is_none() && !state.kept.has_room(1) {
            return Err(full("make a record"));
        }
        let beginning = Beginning {
            id,
            budget,
            place: entry,
            attempts,
        };
        state.kept.begin_record(&beginning, None);
        Ok(())
    }

    async fn start(&self, id: CorrelationId, attempt: u32) -> Result<Started, BrokerError> {
        Ok(self.store.lock().kept.start(id, attempt))
    }

    async fn note_progress(&self, id: CorrelationId, progress: &Progress) -> Result<(), BrokerError> {
        self.store.lock().kept.note_progress(id, progress);
        Ok(())
    }

    async fn complete(&self, replies: &[Reply]) -> Result<usize, BrokerError> {
        let mut state = self.store.lock();
        Ok(replies.iter().filter(|reply| state.kept.complete(reply, false)).count())
    }

    async fn store(&self, replies: &[Reply]) -> Result<(), BrokerError> {
        let mut state = self.store.lock();
        let stored = replies.iter().filter(|reply| state.kept.store(reply, false)).count();
        match stored == replies.len() {
            true => Ok(()),
            // Whoever stores a result may tell others where it is.
            false => Err(full("store results")),
        }
    }

    async fn records(&self, ids: &[CorrelationId]) -> Result<Vec<Option<Record>>, BrokerError> {
        let state = self.store.lock();
        Ok(ids.iter().map(|id| state.kept.record(*id)).collect())
    }

    async fn list(
        &self,
        status: Option<Status>,
        before: Option<CorrelationId>,
        max: usize,
    ) -> Result<Vec<Record>, BrokerError> {
        Ok(self.store.lock().kept.list(status, before, max))
    }

    async fn cancel(&self, id: CorrelationId, entry: Option<EntryId>) -> Result<CancelOutcome, BrokerError> {
        let mut state = self.store.lock();
        let status = state.kept.status(id);
        if let Some(ended) = status.filter(|status| status.is_final()) {
            return Ok(CancelOutcome::AlreadyFinished(ended));
        }
        let place = state.kept.place(id).or(entry);
        if let Some(content) = place.and_then(|place| state.take_waiting(place)) {
            state.discarded += 1;
            let reply = Reply {
                id,
                outcome: Err(cancelled()),
            };
            state.kept.complete(&reply, false);
            if let Some(request) = content.ok().filter(|request| request.keep != Keep::Only) {
                state.deliver(&request.reply_to, reply);
            }
            return Ok(CancelOutcome::Cancelled);
        }
        let at_work = place.is_some_and(|place| state.claimed.contains_key(&place));
        match status.is_some() || at_work {
            true => Ok(state.kept.wish(id)),
            false => Ok(CancelOutcome::Unknown),
        }
    }

    async fn cancelling(&self, ids: &[CorrelationId]) -> Result<Vec<CorrelationId>, BrokerError> {
        Ok(self.store.lock().kept.cancelling(ids))
    }

    async fn purge_expired(&self) -> Result<Purged, BrokerError> {
        let removed = self.store.lock().kept.purge_expired();
        Ok(Purged { removed, ended: 0 })
    }

    fn changes(&self) -> Box<dyn Changes> {
        Box::new(MemoryChanges(self.store.lock().kept.changes.subscribe()))
    }
}
