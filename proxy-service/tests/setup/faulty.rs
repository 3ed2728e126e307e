//! A broker in memory whose calls fail as they are told to.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use roundtrip::broker::conformance::FirstQueue as _;
use roundtrip::broker::memory::MemoryBroker;
use roundtrip::broker::{
    Adoption, BrokerErrorKind, Consumer, Delivery, Depth, Dropped, EntryId, Maintained, Queue, Receipt, ReplyStream,
    Role, Settlement, Shortcoming,
};
use roundtrip::{Broker, BrokerError, OperationName, ReplyTo, Request};
use tokio::time::sleep;

type Answer<T> = Result<T, BrokerError>;

/// What becomes of a call that has something to bring.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// It works.
    None,
    /// It takes effect, and its answer is lost.
    Lost,
    /// It brings nothing, and has no effect.
    Nothing,
    /// It delivers only the first.
    OnlyOne,
    /// It works, and takes this long.
    Slow(Duration),
}

#[derive(Debug, Clone)]
pub(crate) struct Faulty {
    inner: Arc<MemoryBroker>,
    plan: Arc<Mutex<HashMap<&'static str, VecDeque<Fault>>>>,
}

impl Faulty {
    /// The faults of each call's next ones; after these it works.
    pub(crate) fn new<'a>(
        inner: &Arc<MemoryBroker>,
        plan: impl IntoIterator<Item = (&'static str, &'a [Fault])>,
    ) -> Arc<Self> {
        let plan = plan
            .into_iter()
            .map(|(call, faults)| (call, faults.iter().copied().collect()));
        Arc::new(Self {
            inner: inner.clone(),
            plan: Arc::new(Mutex::new(plan.collect())),
        })
    }

    /// Whether all that was planned has happened.
    pub(crate) fn is_done(&self) -> bool {
        self.plan.lock().unwrap().values().all(VecDeque::is_empty)
    }

    fn next(&self, call: &'static str) -> Fault {
        let mut plan = self.plan.lock().unwrap();
        plan.get_mut(call).and_then(VecDeque::pop_front).unwrap_or(Fault::None)
    }

    async fn answer<T>(&self, call: &'static str, fault: Fault, answer: Answer<T>) -> Answer<T> {
        match fault {
            Fault::Lost => Err(BrokerError::new(
                BrokerErrorKind::Unconfirmed,
                call,
                "the answer was lost",
            )),
            Fault::Slow(time) => {
                sleep(time).await;
                answer
            }
            _ => answer,
        }
    }
}

#[async_trait]
impl Broker for Faulty {
    fn queue(&self, _: OperationName) -> Arc<dyn Queue> {
        Arc::new(self.clone())
    }
    async fn publish(&self, requests: &[Request]) -> Answer<Vec<EntryId>> {
        self.inner.publish(requests).await
    }
    async fn settle(&self, settlements: &[Settlement]) -> Answer<()> {
        self.inner.settle(settlements).await
    }
    async fn heartbeat(&self, requester: &ReplyTo) -> Answer<Adoption> {
        self.inner.heartbeat(requester).await
    }
    fn replies(&self, reply_to: &ReplyTo) -> Box<dyn ReplyStream> {
        self.inner.replies(reply_to)
    }
    async fn shortcomings(&self, role: Role) -> Answer<Vec<Shortcoming>> {
        self.inner.shortcomings(role).await
    }
    async fn ping(&self) -> Answer<Duration> {
        self.inner.ping().await
    }
}

#[async_trait]
impl Queue for Faulty {
    async fn claim_due(&self, consumer: &Consumer, within: Duration, max: usize) -> Answer<Vec<Delivery>> {
        let found = self.inner.claim_due(consumer, within, max).await?;
        let fault = match found.is_empty() {
            true => Fault::None,
            false => self.next("claim_due"),
        };
        self.answer("claim_due", fault, Ok(found)).await
    }
    async fn reclaim(&self, consumer: &Consumer, idle: Duration, max: usize) -> Answer<Vec<Dropped>> {
        let found = self.inner.reclaim(consumer, idle, max).await?;
        let fault = match found.is_empty() {
            true => Fault::None,
            false => self.next("reclaim"),
        };
        if matches!(fault, Fault::Nothing) {
            let entries: Vec<_> = found.iter().map(|one| one.entry).collect();
            self.inner.release(consumer, &entries).await?;
            return Ok(Vec::new());
        }
        self.answer("reclaim", fault, Ok(found)).await
    }
    async fn redeliver(&self, consumer: &Consumer, attempts: &[(EntryId, u32)]) -> Answer<Vec<Delivery>> {
        let fault = match attempts.is_empty() {
            true => Fault::None,
            false => self.next("redeliver"),
        };
        let attempts = match fault {
            Fault::OnlyOne => &attempts[..1],
            _ => attempts,
        };
        let found = self.inner.redeliver(consumer, attempts).await;
        self.answer("redeliver", fault, found).await
    }
    async fn release(&self, consumer: &Consumer, entries: &[EntryId]) -> Answer<()> {
        let fault = match entries.is_empty() {
            true => Fault::None,
            false => self.next("release"),
        };
        if matches!(fault, Fault::Nothing) {
            return Err(BrokerError::new(
                BrokerErrorKind::Unavailable,
                "release",
                "away for a moment",
            ));
        }
        let released = self.inner.release(consumer, entries).await;
        self.answer("release", fault, released).await
    }
    async fn prepare(&self) -> Answer<bool> {
        self.inner.prepare().await
    }
    async fn claim(&self, consumer: &Consumer, max: usize) -> Answer<Vec<Delivery>> {
        self.inner.claim(consumer, max).await
    }
    async fn recover(&self, consumer: &Consumer, held: &HashSet<EntryId>, max: usize) -> Answer<Vec<Dropped>> {
        self.inner.recover(consumer, held, max).await
    }
    async fn renew(&self, consumer: &Consumer, receipts: &[Receipt]) -> Answer<usize> {
        if matches!(self.next("renew"), Fault::Nothing) {
            return Err(BrokerError::new(
                BrokerErrorKind::Unavailable,
                "renew",
                "away for a moment",
            ));
        }
        self.inner.renew(consumer, receipts).await
    }
    async fn deregister(&self, consumer: &Consumer) -> Answer<()> {
        self.inner.deregister(consumer).await
    }
    async fn maintain(&self, consumer: &Consumer, terminals: u32, silent: Duration) -> Answer<Maintained> {
        self.inner.maintain(consumer, terminals, silent).await
    }
    async fn depth(&self) -> Answer<Depth> {
        self.inner.depth().await
    }
}
