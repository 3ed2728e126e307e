//! The durable backend: Redis Streams with one consumer group, commands of Redis 6.2 and Valkey.
//! No Redis type leaves this module.
//!
//! The commands every request passes through have lanes of their own; everything else shares one connection.

#[cfg(feature = "bench")]
pub mod bench;

mod answers;
#[cfg(test)]
mod answers_tests;
mod claim;
mod clock;
mod codec;
mod connection;
mod dead_letters;
mod depth;
mod discards;
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

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use ::redis::ConnectionInfo;
use async_trait::async_trait;

use super::{
    Acceptance, Accepted, Adoption, Broker, BrokerError, BrokerOptions, CancelOutcome, Changes, Consumer, DeadLetters,
    Delivery, Depth, Dropped, Durability, EntryId, Maintained, Progress, Purged, Receipt, Record, Replayed,
    ReplyStream, ResultStore, Retention, Role, Settlement, Shortcoming, Started, Status, StoredLetter,
};
use crate::message::{Budget, CorrelationId, Reply, ReplyTo, Request};
use claim::{Reader, Readers, Taking};
use clock::ServerClock;
use connection::dedicated::Dedicated;
use connection::shared::Link;
use heartbeat::Silent;
use keys::Keys;
use maintenance::orphans::Search;
use reclaim::Scan;
use settle::{Settling, Unsure};

/// The consumer group that all workers share.
const GROUP: &str = "processing-group";

/// A broker on Redis Streams.
#[derive(Debug)]
pub struct RedisBroker {
    keys: Arc<Keys>,
    link: Link,
    publishing: Dedicated,
    accepting: Dedicated,
    settling: Dedicated,
    readers: Readers,
    scan: Scan,
    clock: ServerClock,
    search: Search,
    unsure: Unsure,
    silent: Silent,
    lease: Duration,
    durability: Durability,
    retention: Retention,
}

impl RedisBroker {
    /// A broker for one operation's streams. Connects at the first call.
    ///
    /// A settlement later than half a lease first makes sure that the delivery is still its consumer's.
    #[must_use]
    pub fn new(info: ConnectionInfo, options: BrokerOptions<'_>) -> Self {
        Self {
            keys: Arc::new(Keys::new(options.operation)),
            link: Link::new(info),
            publishing: Dedicated::quick(),
            accepting: Dedicated::quick(),
            settling: Dedicated::quick(),
            readers: Readers::default(),
            scan: Scan::default(),
            clock: ServerClock::new(options.lease),
            search: Search::new(),
            unsure: Unsure::default(),
            silent: Silent::default(),
            lease: options.lease,
            durability: options.durability,
            retention: options.retention,
        }
    }

    fn taking<'a>(&'a self, consumer: &'a Consumer, reader: &'a Reader) -> Taking<'a> {
        Taking {
            link: &self.link,
            keys: &self.keys,
            clock: &self.clock,
            reader,
            consumer,
            lease: self.lease,
        }
    }
}

#[async_trait]
impl Broker for RedisBroker {
    async fn publish(&self, requests: &[Request]) -> Result<Vec<EntryId>, BrokerError> {
        publish::publish(&self.publishing, &self.link, &self.keys, self.durability, requests).await
    }

    async fn prepare(&self) -> Result<bool, BrokerError> {
        claim::create_group(&self.link, &self.keys).await
    }

    async fn claim(&self, consumer: &Consumer, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        self.readers
            .claim(&self.link, &self.keys, &self.clock, consumer, self.lease, max)
            .await
    }

    async fn claim_due(&self, consumer: &Consumer, within: Duration, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        let reader = self.readers.of(consumer);
        self.taking(consumer, &reader).claim_due(within, max).await
    }

    async fn recover(
        &self,
        consumer: &Consumer,
        held: &HashSet<EntryId>,
        max: usize,
    ) -> Result<Vec<Dropped>, BrokerError> {
        reclaim::recover(&self.link, &self.keys, consumer, held, max).await
    }

    async fn reclaim(&self, consumer: &Consumer, idle: Duration, max: usize) -> Result<Vec<Dropped>, BrokerError> {
        self.scan
            .reclaim(&self.link, &self.keys, &self.clock, consumer, idle, max)
            .await
    }

    async fn redeliver(&self, consumer: &Consumer, attempts: &[(EntryId, u32)]) -> Result<Vec<Delivery>, BrokerError> {
        let reader = self.readers.of(consumer);
        self.taking(consumer, &reader).redeliver(attempts).await
    }

    async fn renew(&self, consumer: &Consumer, receipts: &[Receipt]) -> Result<usize, BrokerError> {
        let entries: Vec<EntryId> = receipts.iter().map(|receipt| receipt.entry).collect();
        lease::renew(&self.link, &self.keys, &self.clock, consumer, &entries).await
    }

    async fn release(&self, consumer: &Consumer, entries: &[EntryId]) -> Result<(), BrokerError> {
        lease::release(&self.link, &self.keys, consumer, entries).await
    }

    async fn deregister(&self, consumer: &Consumer) -> Result<(), BrokerError> {
        self.readers.forget(consumer);
        lease::deregister(&self.link, &self.keys, consumer).await
    }

    async fn maintain(&self, consumer: &Consumer, terminals: u32, silent: Duration) -> Result<Maintained, BrokerError> {
        maintenance::maintain(&self.search, &self.link, &self.keys, consumer, terminals, silent).await
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

    async fn depth(&self) -> Result<Depth, BrokerError> {
        depth::depth(&self.link, &self.keys, &self.clock).await
    }

    async fn shortcomings(&self, role: Role) -> Result<Vec<Shortcoming>, BrokerError> {
        rights::shortcomings(&self.link, &self.keys, self.durability, role).await
    }

    async fn ping(&self) -> Result<Duration, BrokerError> {
        self.link.ping().await
    }
}

#[async_trait]
impl DeadLetters for RedisBroker {
    async fn letters(&self, before: Option<EntryId>, max: usize) -> Result<Vec<StoredLetter>, BrokerError> {
        dead_letters::letters(&self.link, &self.keys, before, max).await
    }

    async fn letter(&self, id: EntryId) -> Result<Option<StoredLetter>, BrokerError> {
        dead_letters::by_id(&self.link, &self.keys, id).await
    }

    async fn replay(&self, id: EntryId) -> Result<Replayed, BrokerError> {
        dead_letters::replay(&self.link, &self.keys, id).await
    }

    async fn discard(&self, id: EntryId) -> Result<bool, BrokerError> {
        dead_letters::discard(&self.link, &self.keys, id).await
    }
}

#[async_trait]
impl ResultStore for RedisBroker {
    async fn submit(&self, requests: &[Acceptance]) -> Result<Vec<Result<Accepted, BrokerError>>, BrokerError> {
        let (lane, retention) = (&self.accepting, &self.retention);
        results::submit(lane, &self.link, &self.keys, self.durability, retention, requests).await
    }

    async fn create(
        &self,
        id: CorrelationId,
        entry: Option<EntryId>,
        budget: Budget,
        requester: &ReplyTo,
    ) -> Result<(), BrokerError> {
        results::create(&self.link, &self.keys, &self.retention, id, entry, budget, requester).await
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

    async fn list(
        &self,
        status: Option<Status>,
        before: Option<CorrelationId>,
        max: usize,
    ) -> Result<Vec<Record>, BrokerError> {
        results::list(&self.link, &self.keys, status, before, max).await
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
