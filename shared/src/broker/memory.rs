//! The embedded backend: everything lives in this process and dies with it.
//! It keeps the same promises as the durable one, so that code tested on it behaves the same there.

mod beginning;
mod changes;
mod index;
mod keys;
mod letters;
mod line;
mod moment;
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
    Acceptance, Accepted, Adoption, Broker, BrokerError, CancelOutcome, Changes, Consumer, DeadLetters, Delivery,
    Depth, Dropped, EntryId, LetterId, MAX_WAIT, Maintained, NewRecord, Progress, Purged, Queue, Receipt, Record,
    RecordPage, Replayed, ReplyStream, ResultStore, Retention, Role, Settlement, Shortcoming, Started, StoredLetter,
};
use crate::message::{CorrelationId, Reply, ReplyTo, Request};
use crate::operation::OperationName;
use beginning::Beginning;
use changes::MemoryChanges;
use line::Line;
use replies::MemoryReplies;
use state::{State, full};

/// A broker without a server.
#[derive(Debug)]
pub struct MemoryBroker {
    store: Arc<Store>,
}

#[derive(Debug)]
struct Store(Mutex<State>);

/// The queue of one operation.
#[derive(Debug)]
struct MemoryQueue {
    store: Arc<Store>,
    operation: OperationName,
    arrived: Arc<Notify>,
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
        let store = Arc::new(Store(Mutex::new(State::new(retention))));
        Self { store }
    }

    /// Puts in an entry that is no request, as a careless hand could on a real server.
    #[cfg(feature = "test-util")]
    pub fn put_malformed(&self, malformed: super::Malformed) {
        self.store.lock().append(OperationName::first(), Err(malformed));
    }
}

impl Default for MemoryBroker {
    fn default() -> Self {
        Self::new()
    }
}

impl Store {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no code panics while it holds the store")
    }
}

#[async_trait]
impl Broker for MemoryBroker {
    fn queue(&self, operation: OperationName) -> Arc<dyn Queue> {
        Arc::new(MemoryQueue {
            arrived: self.store.lock().line(operation).arrived.clone(),
            store: self.store.clone(),
            operation,
        })
    }

    async fn publish(&self, requests: &[Request]) -> Result<Vec<EntryId>, BrokerError> {
        let mut state = self.store.lock();
        if !state.has_room(requests.iter()) {
            return Err(full("publish"));
        }
        let append = |request: &Request| state.append(request.origin.operation, Ok(request.clone()));
        Ok(requests.iter().map(append).collect())
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

    async fn shortcomings(&self, _: Role) -> Result<Vec<Shortcoming>, BrokerError> {
        Ok(Vec::new())
    }

    async fn ping(&self) -> Result<Duration, BrokerError> {
        let started = Instant::now();
        drop(self.store.lock());
        Ok(started.elapsed())
    }
}

impl MemoryQueue {
    fn line<T>(&self, with: impl FnOnce(&mut Line) -> T) -> T {
        with(self.store.lock().line(self.operation))
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn prepare(&self) -> Result<bool, BrokerError> {
        Ok(false)
    }

    async fn claim(&self, consumer: &Consumer, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        let first = async {
            loop {
                let arrived = self.arrived.notified();
                let deliveries = self.line(|line| {
                    line.workers.entry(consumer.clone()).or_insert(0);
                    line.claim(consumer, max)
                });
                if !deliveries.is_empty() || max == 0 {
                    return deliveries;
                }
                arrived.await;
            }
        };
        Ok(timeout(MAX_WAIT, first).await.unwrap_or_default())
    }

    async fn claim_due(&self, consumer: &Consumer, within: Duration, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        Ok(self.line(|line| line.claim_due(consumer, within, max)))
    }

    async fn recover(
        &self,
        consumer: &Consumer,
        held: &HashSet<EntryId>,
        max: usize,
    ) -> Result<Vec<Dropped>, BrokerError> {
        Ok(self.line(|line| line.recover(consumer, held, max)))
    }

    async fn reclaim(&self, consumer: &Consumer, idle: Duration, max: usize) -> Result<Vec<Dropped>, BrokerError> {
        Ok(self.line(|line| line.reclaim(consumer, idle, max)))
    }

    async fn redeliver(&self, consumer: &Consumer, attempts: &[(EntryId, u32)]) -> Result<Vec<Delivery>, BrokerError> {
        Ok(self.line(|line| line.redeliver(consumer, attempts)))
    }

    async fn renew(&self, consumer: &Consumer, receipts: &[Receipt]) -> Result<usize, BrokerError> {
        Ok(self.line(|line| {
            let renew = |receipt: &&Receipt| match line.owned(consumer, receipt.entry) {
                Some(claim) => {
                    claim.renew();
                    true
                }
                None => false,
            };
            receipts.iter().filter(renew).count()
        }))
    }

    async fn release(&self, consumer: &Consumer, entries: &[EntryId]) -> Result<(), BrokerError> {
        self.line(|line| {
            for entry in entries {
                if let Some(claim) = line.owned(consumer, *entry) {
                    claim.release();
                }
            }
        });
        Ok(())
    }

    async fn deregister(&self, consumer: &Consumer) -> Result<(), BrokerError> {
        self.line(|line| line.deregister(consumer));
        Ok(())
    }

    /// No entry can get out of all hands here, and consumers are only names.
    async fn maintain(&self, consumer: &Consumer, terminals: u32, _: Duration) -> Result<Maintained, BrokerError> {
        self.line(|line| line.workers.insert(consumer.clone(), terminals));
        Ok(Maintained::default())
    }

    async fn depth(&self) -> Result<Depth, BrokerError> {
        Ok(self.store.lock().depth(self.operation))
    }
}

#[async_trait]
impl DeadLetters for MemoryBroker {
    async fn letters(&self, before: Option<LetterId>, max: usize) -> Result<Vec<StoredLetter>, BrokerError> {
        Ok(self.store.lock().letters.older(before, max))
    }

    async fn letter(&self, id: LetterId) -> Result<Option<StoredLetter>, BrokerError> {
        Ok(self.store.lock().letters.get(id))
    }

    async fn replay(&self, id: LetterId) -> Result<Replayed, BrokerError> {
        self.store.lock().replay(id)
    }

    async fn discard(&self, id: LetterId) -> Result<bool, BrokerError> {
        Ok(self.store.lock().letters.discard(id).is_some())
    }
}

#[async_trait]
impl ResultStore for MemoryBroker {
    async fn submit(&self, requests: &[Acceptance]) -> Result<Vec<Result<Accepted, BrokerError>>, BrokerError> {
        let mut state = self.store.lock();
        Ok(requests.iter().map(|acceptance| state.submit(acceptance)).collect())
    }

    async fn create(&self, record: &NewRecord<'_>) -> Result<(), BrokerError> {
        let mut state = self.store.lock();
        let attempts = record
            .entry
            .map_or(1, |entry| state.line(entry.operation).attempts(entry));
        if state.kept.status(record.id).is_none() && !state.kept.has_room(1) {
            return Err(full("make a record"));
        }
        let beginning = Beginning {
            id: record.id,
            origin: record.origin.clone(),
            budget: record.budget,
            place: record.entry,
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

    async fn list(&self, page: &RecordPage<'_>) -> Result<Vec<Record>, BrokerError> {
        Ok(self.store.lock().kept.list(page))
    }

    async fn cancel(&self, id: CorrelationId, entry: Option<EntryId>) -> Result<CancelOutcome, BrokerError> {
        Ok(self.store.lock().cancel(id, entry))
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
