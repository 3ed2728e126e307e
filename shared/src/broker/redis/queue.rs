//! One operation's queue: a stream with its consumer group.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::claim::{self, Reader, Readers, Taking};
use super::clock::ServerClock;
use super::connection::shared::Link;
use super::keys::Keys;
use super::maintenance::orphans::Search;
use super::reclaim::{self, Scan};
use super::{depth, lease, maintenance};
use crate::broker::{BrokerError, Consumer, Delivery, Depth, Dropped, EntryId, Maintained, Position, Queue, Receipt};
use crate::operation::OperationName;

/// The queue of one operation, and what its consumers in this process remember.
#[derive(Debug)]
pub(super) struct RedisQueue {
    keys: Arc<Keys>,
    link: Link,
    clock: Arc<ServerClock>,
    readers: Readers,
    scan: Scan,
    search: Search,
    lease: Duration,
}

impl RedisQueue {
    pub(super) fn new(operation: OperationName, link: Link, clock: Arc<ServerClock>, lease: Duration) -> Self {
        Self {
            keys: Arc::new(Keys::new(operation)),
            link,
            clock,
            readers: Readers::default(),
            scan: Scan::default(),
            search: Search::new(),
            lease,
        }
    }

    pub(super) fn keys(&self) -> Arc<Keys> {
        self.keys.clone()
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
impl Queue for RedisQueue {
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
        let held = held.iter().map(|entry| entry.at).collect();
        reclaim::recover(&self.link, &self.keys, consumer, &held, max).await
    }

    async fn reclaim(&self, consumer: &Consumer, idle: Duration, max: usize) -> Result<Vec<Dropped>, BrokerError> {
        self.scan
            .reclaim(&self.link, &self.keys, &self.clock, consumer, idle, max)
            .await
    }

    async fn redeliver(&self, consumer: &Consumer, attempts: &[(EntryId, u32)]) -> Result<Vec<Delivery>, BrokerError> {
        let reader = self.readers.of(consumer);
        let attempts: Vec<_> = attempts.iter().map(|(entry, attempt)| (entry.at, *attempt)).collect();
        self.taking(consumer, &reader).redeliver(&attempts).await
    }

    async fn renew(&self, consumer: &Consumer, receipts: &[Receipt]) -> Result<usize, BrokerError> {
        let entries: Vec<Position> = receipts.iter().map(|receipt| receipt.entry.at).collect();
        lease::renew(&self.link, &self.keys, &self.clock, consumer, &entries).await
    }

    async fn release(&self, consumer: &Consumer, entries: &[EntryId]) -> Result<(), BrokerError> {
        let entries: Vec<Position> = entries.iter().map(|entry| entry.at).collect();
        lease::release(&self.link, &self.keys, consumer, &entries).await
    }

    async fn deregister(&self, consumer: &Consumer) -> Result<(), BrokerError> {
        self.readers.forget(consumer);
        lease::deregister(&self.link, &self.keys, consumer).await
    }

    async fn maintain(&self, consumer: &Consumer, terminals: u32, silent: Duration) -> Result<Maintained, BrokerError> {
        maintenance::maintain(&self.search, &self.link, &self.keys, consumer, terminals, silent).await
    }

    async fn depth(&self) -> Result<Depth, BrokerError> {
        depth::depth(&self.link, &self.keys, &self.clock).await
    }
}
