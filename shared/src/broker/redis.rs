//! The durable backend: Redis Streams with one consumer group, commands of Redis 6.2 and Valkey.
//! No Redis type leaves this module.
//!
//! The commands every request passes through have lanes of their own; everything else shares one connection.

#[cfg(feature = "bench")]
pub mod bench;

mod claim;
mod codec;
mod connection;
mod depth;
mod errors;
mod keys;
mod lane;
mod lease;
mod publish;
mod reclaim;
mod replies;
mod settle;
mod socket;
mod wire;

use std::collections::HashSet;
use std::time::Duration;

use ::redis::ConnectionInfo;
use async_trait::async_trait;

use super::{Broker, BrokerError, Consumer, Delivery, Depth, EntryId, Receipt, ReplyStream, Settlement};
use crate::message::{ReplyTo, Request};
use claim::Readers;
use connection::Link;
use keys::Keys;
use lane::Lane;
use reclaim::Scan;
use settle::Unsure;

/// The consumer group that all workers share.
const GROUP: &str = "processing-group";

/// A broker on Redis Streams.
#[derive(Debug)]
pub struct RedisBroker {
    keys: Keys,
    link: Link,
    publishing: Lane,
    settling: Lane,
    readers: Readers,
    scan: Scan,
    unsure: Unsure,
    lease: Duration,
}

impl RedisBroker {
    /// A broker for one operation's streams, for example `weather`. Connects at the first call.
    ///
    /// `lease` is what the callers of [`Broker::reclaim`] pass as `idle`: a settlement later than half of
    /// it first makes sure that the delivery is still its consumer's.
    #[must_use]
    pub fn new(info: ConnectionInfo, operation: &str, lease: Duration) -> Self {
        Self {
            keys: Keys::new(operation),
            link: Link::new(info),
            publishing: Lane::quick(),
            settling: Lane::quick(),
            readers: Readers::default(),
            scan: Scan::default(),
            unsure: Unsure::default(),
            lease,
        }
    }
}

#[async_trait]
impl Broker for RedisBroker {
    async fn publish(&self, requests: &[Request]) -> Result<(), BrokerError> {
        publish::publish(&self.publishing, &self.link, &self.keys, requests).await
    }

    async fn claim(&self, consumer: &Consumer, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        self.readers.claim(&self.link, &self.keys, consumer, max).await
    }

    async fn recover(
        &self,
        consumer: &Consumer,
        held: &HashSet<EntryId>,
        max: usize,
    ) -> Result<Vec<Delivery>, BrokerError> {
        reclaim::recover(&self.link, &self.keys, consumer, held, max).await
    }

    async fn reclaim(&self, consumer: &Consumer, idle: Duration, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        self.scan.reclaim(&self.link, &self.keys, consumer, idle, max).await
    }

    async fn renew(&self, consumer: &Consumer, receipts: &[Receipt]) -> Result<usize, BrokerError> {
        lease::renew(&self.link, &self.keys, consumer, receipts).await
    }

    async fn leave(&self, consumer: &Consumer) -> Result<(), BrokerError> {
        self.readers.forget(consumer);
        lease::leave(&self.link, &self.keys, consumer).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<(), BrokerError> {
        self.unsure
            .settle(&self.settling, &self.link, &self.keys, self.lease, settlements)
            .await
    }

    fn replies(&self, reply_to: &ReplyTo) -> Box<dyn ReplyStream> {
        Box::new(replies::RedisReplies::new(
            self.link.clone(),
            self.keys.replies(reply_to),
        ))
    }

    async fn depth(&self) -> Result<Depth, BrokerError> {
        depth::depth(&self.link, &self.keys).await
    }

    async fn ping(&self) -> Result<Duration, BrokerError> {
        self.link.ping().await
    }
}
