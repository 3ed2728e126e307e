//! Requests and replies, through the weather.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use roundtrip::broker::conformance::FirstQueue as _;
use roundtrip::broker::{
    Adoption, Broker, BrokerError, Consumer, Delivery, Depth, Dropped, EntryId, Maintained, Queue, Receipt,
    ReplyStream, Role, Settlement, Shortcoming,
};
use roundtrip::{OperationName, ReplyTo, Request};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::replies::Replies;
use super::{Link, pause, refused, unknown};
use crate::server::LONG_PATIENCE;
use crate::weather::{Call, Fate};

#[async_trait]
impl Broker for Link {
    /// All histories are those of one operation.
    fn queue(&self, _: OperationName) -> Arc<dyn Queue> {
        Arc::new(self.clone())
    }

    async fn publish(&self, requests: &[Request]) -> Result<Vec<EntryId>, BrokerError> {
        let (requests, by) = (requests.to_vec(), self.instance.clone());
        self.call(Call::Publish, false, move |server| {
            let (requests, by) = (requests.clone(), by.clone());
            async move { server.publish(by.name(), &requests).await }
        })
        .await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<(), BrokerError> {
        let (settlements, by) = (settlements.to_vec(), self.instance.clone());
        self.call(Call::Settle, true, move |server| {
            let (settlements, by) = (settlements.clone(), by.clone());
            async move { server.settle(by.name(), &settlements).await }
        })
        .await
    }

    async fn heartbeat(&self, requester: &ReplyTo) -> Result<Adoption, BrokerError> {
        let requester = requester.clone();
        self.call(Call::Look, true, move |server| {
            let requester = requester.clone();
            async move { server.heartbeat(&requester).await }
        })
        .await
    }

    fn replies(&self, reply_to: &ReplyTo) -> Box<dyn ReplyStream> {
        Box::new(Replies::of(self, reply_to))
    }

    async fn shortcomings(&self, _: Role) -> Result<Vec<Shortcoming>, BrokerError> {
        Ok(Vec::new())
    }

    async fn ping(&self) -> Result<Duration, BrokerError> {
        self.call(Call::Look, true, |server| async move { server.memory.ping().await })
            .await
    }
}

#[async_trait]
impl Queue for Link {
    async fn prepare(&self) -> Result<bool, BrokerError> {
        self.call(Call::Look, true, |server| async move { server.memory.prepare().await })
            .await
    }

    /// Waits at the server, which hands over what comes even to a client that is frozen.
    async fn claim(&self, consumer: &Consumer, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        let (server, consumer, closed) = (self.server.clone(), consumer.clone(), self.closed.clone());
        let by = self.instance.clone();
        let claim = move || async move {
            closed
                .run_until_cancelled(server.claim(by.name(), &consumer, max))
                .await
                .unwrap_or_else(|| Err(unknown()))
        };
        match self.fate(Call::Claim) {
            Fate::Fine(before, after) => {
                pause(before).await;
                let (answer, answered) = oneshot::channel();
                tokio::spawn(async move { answer.send(claim().await) });
                let answer = timeout(LONG_PATIENCE, answered).await;
                pause(after).await;
                answer.ok().and_then(Result::ok).unwrap_or_else(|| Err(unknown()))
            }
            Fate::Refused | Fate::Full => Err(refused()),
            Fate::Twice => {
                tokio::spawn(claim());
                Err(unknown())
            }
            Fate::Unknown(effect) => {
                if effect.is_some() {
                    tokio::spawn(claim());
                }
                sleep(LONG_PATIENCE).await;
                Err(unknown())
            }
        }
    }

    async fn claim_due(&self, consumer: &Consumer, within: Duration, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        let consumer = consumer.clone();
        self.call(Call::Look, false, move |server| {
            let consumer = consumer.clone();
            async move { server.memory.claim_due(&consumer, within, max).await }
        })
        .await
    }

    async fn recover(
        &self,
        consumer: &Consumer,
        held: &HashSet<EntryId>,
        max: usize,
    ) -> Result<Vec<Dropped>, BrokerError> {
        let (consumer, held) = (consumer.clone(), held.clone());
        self.call(Call::Look, true, move |server| {
            let (consumer, held) = (consumer.clone(), held.clone());
            async move { server.memory.recover(&consumer, &held, max).await }
        })
        .await
    }

    async fn reclaim(&self, consumer: &Consumer, idle: Duration, max: usize) -> Result<Vec<Dropped>, BrokerError> {
        let consumer = consumer.clone();
        self.call(Call::Look, false, move |server| {
            let consumer = consumer.clone();
            async move { server.memory.reclaim(&consumer, idle, max).await }
        })
        .await
    }

    async fn redeliver(&self, consumer: &Consumer, attempts: &[(EntryId, u32)]) -> Result<Vec<Delivery>, BrokerError> {
        let (consumer, attempts) = (consumer.clone(), attempts.to_vec());
        self.call(Call::Claim, false, move |server| {
            let (consumer, attempts) = (consumer.clone(), attempts.clone());
            async move { server.memory.redeliver(&consumer, &attempts).await }
        })
        .await
    }

    async fn renew(&self, consumer: &Consumer, receipts: &[Receipt]) -> Result<usize, BrokerError> {
        let (consumer, receipts) = (consumer.clone(), receipts.to_vec());
        self.call(Call::Renew, true, move |server| {
            let (consumer, receipts) = (consumer.clone(), receipts.clone());
            async move { server.memory.renew(&consumer, &receipts).await }
        })
        .await
    }

    async fn release(&self, consumer: &Consumer, entries: &[EntryId]) -> Result<(), BrokerError> {
        let (consumer, entries) = (consumer.clone(), entries.to_vec());
        self.call(Call::Look, true, move |server| {
            let (consumer, entries) = (consumer.clone(), entries.clone());
            async move { server.memory.release(&consumer, &entries).await }
        })
        .await
    }

    async fn deregister(&self, consumer: &Consumer) -> Result<(), BrokerError> {
        let consumer = consumer.clone();
        self.call(Call::Look, true, move |server| {
            let consumer = consumer.clone();
            async move { server.memory.deregister(&consumer).await }
        })
        .await
    }

    async fn maintain(&self, consumer: &Consumer, terminals: u32, silent: Duration) -> Result<Maintained, BrokerError> {
        let consumer = consumer.clone();
        self.call(Call::Look, true, move |server| {
            let consumer = consumer.clone();
            async move { server.memory.maintain(&consumer, terminals, silent).await }
        })
        .await
    }

    async fn depth(&self) -> Result<Depth, BrokerError> {
        self.call(Call::Look, true, |server| async move { server.memory.depth().await })
            .await
    }
}
