//! The broker's side of a simulated history: the in-memory backend as shipped, and around it what a server adds that
//! outlives its clients: reply streams that are read again until they are trimmed, and adoption of those whose readers
//! are gone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::FutureExt as _;
use roundtrip::broker::conformance::FirstQueue as _;
use roundtrip::broker::memory::MemoryBroker;
use roundtrip::broker::{
    ABSENCE, Acceptance, Accepted, Adoption, Broker, BrokerError, Consumer, Delivery, EntryId, ReplyStream,
    ResultStore, Retention, Settlement,
};
use roundtrip::{Reply, ReplyTo, Request};
use tokio::time::Instant;

use crate::log::{Log, Told};

/// How often a requester has to be found absent before its replies are adopted.
const LOOKS: u32 = 10;

/// Replies that were read and not trimmed yet, by requester.
pub(crate) type Unread = Arc<Mutex<Vec<Reply>>>;

/// The broker that all instances of a history share.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) memory: MemoryBroker,
    pub(crate) log: Arc<Log>,
    requesters: Mutex<HashMap<ReplyTo, Requester>>,
}

#[derive(Debug)]
struct Requester {
    seen: Instant,
    absent: u32,
    unread: Unread,
}

impl Server {
    pub(crate) fn new(retention: Retention, log: Arc<Log>) -> Arc<Self> {
        Arc::new(Self {
            memory: MemoryBroker::with(retention),
            log,
            requesters: Mutex::default(),
        })
    }

    pub(crate) async fn publish(&self, by: &str, requests: &[Request]) -> Result<Vec<EntryId>, BrokerError> {
        let entries = self.memory.publish(requests).await?;
        for request in requests {
            self.log.published(by, request);
        }
        Ok(entries)
    }

    pub(crate) async fn submit(
        &self,
        by: &str,
        requests: &[Acceptance],
    ) -> Result<Vec<Result<Accepted, BrokerError>>, BrokerError> {
        let outcomes = self.memory.submit(requests).await?;
        for (acceptance, outcome) in requests.iter().zip(&outcomes) {
            match outcome {
                Ok(Accepted::As(_)) => self.log.published(by, &acceptance.request),
                outcome => self.log.not_published(by, &acceptance.request, &format!("{outcome:?}")),
            }
        }
        Ok(outcomes)
    }

    /// Notes what a worker gets.
    pub(crate) fn hands(&self, to: &str, deliveries: &[Delivery]) {
        for request in deliveries.iter().filter_map(|delivery| delivery.content.as_ref().ok()) {
            self.log.delivered(to, request.id);
        }
    }

    pub(crate) async fn claim(&self, by: &str, consumer: &Consumer, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        let deliveries = self.memory.claim(consumer, max).await?;
        self.hands(by, &deliveries);
        Ok(deliveries)
    }

    /// Settles one by one, to see which of them count.
    pub(crate) async fn settle(&self, by: &str, settlements: &[Settlement]) -> Result<(), BrokerError> {
        for settlement in settlements {
            let before = self.memory.depth().await?.completed;
            self.memory.settle(std::slice::from_ref(settlement)).await?;
            let counts = self.memory.depth().await?.completed != before;
            if let Some((_, reply)) = &settlement.reply {
                let told = Told::of(reply, settlement.dead_letter.is_some());
                self.log.settled(by, reply.id, told, counts);
            }
        }
        Ok(())
    }

    /// Says that a requester is there, and adopts what those left who are not.
    pub(crate) async fn heartbeat(&self, me: &ReplyTo) -> Result<Adoption, BrokerError> {
        let now = Instant::now();
        // Makes its place where that is missing.
        drop(self.memory.replies(me));
        let gone: Vec<(ReplyTo, Unread)> = {
            let mut all = self.requesters();
            all.entry(me.clone())
                .and_modify(|one| (one.seen, one.absent) = (now, 0))
                .or_insert_with(|| Requester::new(now));
            for (_, other) in all.iter_mut().filter(|(name, _)| *name != me) {
                other.absent += u32::from(now - other.seen >= ABSENCE);
            }
            let gone = all.extract_if(|_, one| one.absent >= LOOKS);
            gone.map(|(name, one)| (name, one.unread)).collect()
        };
        let mut attended = Adoption::default();
        for (name, unread) in gone {
            let mut stream = self.memory.replies(&name);
            let rest = stream.next().now_or_never();
            let mut left = std::mem::take(&mut *unread.lock().expect("nothing panics with the replies"));
            left.extend(rest.and_then(Result::ok).unwrap_or_default());
            for reply in &left {
                self.log
                    .note(reply.id, || format!("its reply is adopted from {name}, which is gone"));
            }
            self.memory.store(&left).await?;
            stream.close().await?;
            attended.removed += 1;
            attended.adopted += left.len() as u64;
        }
        Ok(attended)
    }

    /// The place of a requester's replies.
    pub(crate) fn replies(&self, requester: &ReplyTo) -> (Box<dyn ReplyStream>, Unread) {
        let mut all = self.requesters();
        let place = all
            .entry(requester.clone())
            .or_insert_with(|| Requester::new(Instant::now()));
        (self.memory.replies(requester), place.unread.clone())
    }

    /// Forgets a requester that left by itself.
    pub(crate) fn forget(&self, requester: &ReplyTo) {
        self.requesters().remove(requester);
    }

    /// How many requesters are known.
    pub(crate) fn known(&self) -> usize {
        self.requesters().len()
    }

    fn requesters(&self) -> MutexGuard<'_, HashMap<ReplyTo, Requester>> {
        self.requesters.lock().expect("nothing panics with the requesters")
    }
}

impl Requester {
    fn new(now: Instant) -> Self {
        Self {
            seen: now,
            absent: 0,
            unread: Unread::default(),
        }
    }
}

/// How long a client waits for an answer, and for one that may take its time.
pub(crate) const PATIENCE: Duration = Duration::from_millis(500);
pub(crate) const LONG_PATIENCE: Duration = Duration::from_secs(3);
