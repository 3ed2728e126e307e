//! The durable backend: Redis Streams with one consumer group, commands of Redis 6.2 and Valkey.
//! No Redis type leaves this module.
//!
//! The commands every request passes through have connections of their own; everything else shares one.

#[cfg(feature = "bench")]
pub mod bench;

mod answers;
#[cfg(test)]
mod answers_tests;
mod claim;
mod clock;
mod codec;
mod connection;
mod counts;
mod dead_letters;
mod depth;
mod errors;
#[cfg(test)]
mod errors_tests;
mod heartbeat;
mod keys;
mod lease;
mod maintenance;
mod portion;
mod publish;
#[cfg(test)]
mod published;
mod queue;
mod reclaim;
mod redeliver;
mod replies;
mod results;
mod rights;
#[cfg(test)]
mod scripted;
mod scripts;
mod settle;
mod subscription;
mod transaction;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ::redis::ConnectionInfo;
use async_trait::async_trait;

use super::{
    Acceptance, Accepted, Adoption, Broker, BrokerError, BrokerOptions, CancelOutcome, Changes, DeadLetters,
    Durability, EntryId, LetterId, NewRecord, Progress, Purged, Queue, Record, RecordPage, Replayed, ReplyStream,
    ResultStore, Retention, Role, Settlement, Shortcoming, Started, StoredLetter,
};
use crate::message::{CorrelationId, Reply, ReplyTo, Request};
use crate::operation::OperationName;
use clock::ServerClock;
use connection::dedicated::Dedicated;
use connection::shared::Link;
use heartbeat::Silent;
use keys::Keys;
use queue::RedisQueue;
use settle::{Settling, Unsure};

/// The consumer group that all workers share.
const GROUP: &str = "processing-group";

/// A broker on Redis Streams.
#[derive(Debug)]
pub struct RedisBroker {
    /// Those that all operations share.
    keys: Arc<Keys>,
    link: Link,
    publishing: Dedicated,
    submitting: Dedicated,
    settling: Dedicated,
    clock: Arc<ServerClock>,
    unsure: Unsure,
    silent: Silent,
    queues: Mutex<BTreeMap<OperationName, Arc<RedisQueue>>>,
    lease: Duration,
    durability: Durability,
    retention: Retention,
}

impl RedisBroker {
    /// A broker on one server. Connects at the first call.
    ///
    /// A settlement later than half a lease first makes sure that the delivery is still its consumer's.
    #[must_use]
    pub fn new(info: ConnectionInfo, options: BrokerOptions) -> Self {
        Self {
            keys: Arc::new(Keys::new(OperationName::first())),
            link: Link::new(info),
            publishing: Dedicated::quick(),
            submitting: Dedicated::quick(),
            settling: Dedicated::quick(),
            clock: Arc::new(ServerClock::new(options.lease)),
            unsure: Unsure::default(),
            silent: Silent::default(),
            queues: Mutex::default(),
            lease: options.lease,
            durability: options.durability,
            retention: options.retention,
        }
    }

    fn queues(&self) -> MutexGuard<'_, BTreeMap<OperationName, Arc<RedisQueue>>> {
        self.queues.lock().expect("no code panics while it holds the queues")
    }
}

#[async_trait]
impl Broker for RedisBroker {
    fn queue(&self, operation: OperationName) -> Arc<dyn Queue> {
        let mut queues = self.queues();
        let queue = queues.entry(operation).or_insert_with(|| {
            let (link, clock) = (self.link.clone(), self.clock.clone());
            Arc::new(RedisQueue::new(operation, link, clock, self.lease))
        });
        queue.clone()
    }

    async fn publish(&self, requests: &[Request]) -> Result<Vec<EntryId>, BrokerError> {
        publish::publish(&self.publishing, &self.link, &self.keys, self.durability, requests).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<(), BrokerError> {
        let with = Settling {
            lane: &self.settling,
            link: &self.link,
            keys: &self.keys,
            lease: self.lease,
            retention: &self.retention,
        };
        self.unsure.settle(with, settlements).await
    }

    async fn heartbeat(&self, requester: &ReplyTo) -> Result<Adoption, BrokerError> {
        heartbeat::heartbeat(&self.link, &self.keys, &self.retention, &self.silent, requester).await
    }

    fn replies(&self, reply_to: &ReplyTo) -> Box<dyn ReplyStream> {
        Box::new(replies::RedisReplies::new(
            self.link.clone(),
            self.keys.clone(),
            reply_to.clone(),
        ))
    }

    async fn shortcomings(&self, role: Role) -> Result<Vec<Shortcoming>, BrokerError> {
        let mut all: Vec<Arc<Keys>> = self.queues().values().map(|queue| queue.keys()).collect();
        if all.is_empty() {
            all.push(self.keys.clone());
        }
        let mut found = Vec::new();
        for keys in all {
            let of_one = rights::shortcomings(&self.link, &keys, self.durability, role).await?;
            let new = of_one.into_iter().filter(|one| !found.contains(one));
            found.extend(new.collect::<Vec<_>>());
        }
        Ok(found)
    }

    async fn ping(&self) -> Result<Duration, BrokerError> {
        self.link.ping().await
    }
}

#[async_trait]
impl DeadLetters for RedisBroker {
    async fn letters(&self, before: Option<LetterId>, max: usize) -> Result<Vec<StoredLetter>, BrokerError> {
        dead_letters::letters(&self.link, &self.keys, before, max).await
    }

    async fn letter(&self, id: LetterId) -> Result<Option<StoredLetter>, BrokerError> {
        dead_letters::by_id(&self.link, &self.keys, id).await
    }

    async fn replay(&self, id: LetterId) -> Result<Replayed, BrokerError> {
        dead_letters::replay(&self.link, &self.keys, id).await
    }

    async fn discard(&self, id: LetterId) -> Result<bool, BrokerError> {
        dead_letters::discard(&self.link, &self.keys, id).await
    }
}

#[async_trait]
impl ResultStore for RedisBroker {
    async fn submit(&self, requests: &[Acceptance]) -> Result<Vec<Result<Accepted, BrokerError>>, BrokerError> {
        let (lane, retention) = (&self.submitting, &self.retention);
        results::submit(lane, &self.link, &self.keys, self.durability, retention, requests).await
    }

    async fn create(&self, record: &NewRecord<'_>) -> Result<(), BrokerError> {
        results::create(&self.link, &self.keys, &self.retention, record).await
    }

    async fn start(&self, id: CorrelationId, attempt: u32) -> Result<Started, BrokerError> {
        results::start(&self.link, &self.keys, id, attempt).await
    }

    async fn note_progress(&self, id: CorrelationId, progress: &Progress) -> Result<(), BrokerError> {
        results::note_progress(&self.link, &self.keys, id, progress).await
    }

    async fn complete(&self, replies: &[Reply]) -> Result<usize, BrokerError> {
        results::complete(&self.link, &self.keys, replies).await
    }

    async fn store(&self, replies: &[Reply]) -> Result<(), BrokerError> {
        results::store(&self.link, &self.keys, &self.retention, replies).await
    }

    async fn records(&self, ids: &[CorrelationId]) -> Result<Vec<Option<Record>>, BrokerError> {
        results::records(&self.link, &self.keys, ids).await
    }

    async fn list(&self, page: &RecordPage<'_>) -> Result<Vec<Record>, BrokerError> {
        results::list(&self.link, &self.keys, page).await
    }

    async fn cancel(&self, id: CorrelationId, entry: Option<EntryId>) -> Result<CancelOutcome, BrokerError> {
        results::cancel(&self.link, &self.keys, id, entry).await
    }

    async fn cancelling(&self, ids: &[CorrelationId]) -> Result<Vec<CorrelationId>, BrokerError> {
        results::cancelling(&self.link, &self.keys, ids).await
    }

    async fn purge_expired(&self) -> Result<Purged, BrokerError> {
        results::purge_expired(&self.link, &self.keys).await
    }

    fn changes(&self) -> Box<dyn Changes> {
        Box::new(subscription::RedisChanges::new(self.link.clone(), self.keys.clone()))
    }
}
