//! The seam: what one instance has of the broker. Every call meets the weather on its way there and back.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use roundtrip::broker::{
    Acceptance, Accepted, Attended, Backend, Begun, Broker, BrokerError, BrokerErrorKind, Cancelled, Changes, Consumer,
    Delivery, Depth, Dropped, EntryId, Progress, Receipt, Record, Records, ReplyStream, Role, Settlement, Shortcoming,
    Status, Swept, Tidied,
};
use roundtrip::service::task::Instance;
use roundtrip::{Budget, CorrelationId, Reply, ReplyTo, Request};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::server::{LONG_PATIENCE, PATIENCE, Server, Unread};
use crate::weather::{Call, Fate, Weather};

/// One instance's way to the broker.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) instance: Arc<Instance>,
    pub(crate) server: Arc<Server>,
    pub(crate) weather: Arc<Mutex<Weather>>,
    /// Cancelled when its process has died: the server notices.
    pub(crate) closed: CancellationToken,
}

impl Link {
    /// The broker as this instance sees it.
    pub(crate) fn backend(&self) -> Backend {
        let link = Arc::new(self.clone());
        Backend {
            broker: link.clone(),
            dead_letters: Arc::new(roundtrip::broker::memory::MemoryBroker::new()),
            records: link,
        }
    }

    fn fate(&self, call: Call) -> Fate {
        self.weather.lock().expect("nothing panics with the weather").fate(call)
    }

    /// Calls the server. `apply` is called twice where the call arrives twice, which only those do that may.
    async fn call<T, F>(
        &self,
        call: Call,
        may_repeat: bool,
        apply: impl Fn(Arc<Server>) -> F + Send + 'static,
    ) -> Result<T, BrokerError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, BrokerError>> + Send + 'static,
    {
        match self.fate(call) {
            Fate::Fine(before, after) => {
                pause(before).await;
                let answer = apply(self.server.clone()).await;
                pause(after).await;
                answer
            }
            Fate::Twice => {
                let answer = apply(self.server.clone()).await;
                match may_repeat {
                    true => apply(self.server.clone()).await,
                    false => answer,
                }
            }
            Fate::Refused => Err(refused()),
            Fate::Full => Err(BrokerError::new(BrokerErrorKind::Full, "write", "no room, by the seed")),
            Fate::Unknown(effect) => {
                if let Some(after) = effect {
                    let server = self.server.clone();
                    // The server does what it was asked, whoever waits for it.
                    tokio::spawn(async move {
                        pause(after).await;
                        let _ = apply(server).await;
                    });
                }
                sleep(PATIENCE).await;
                Err(unknown())
            }
        }
    }
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

fn refused() -> BrokerError {
    BrokerError::new(BrokerErrorKind::Unavailable, "reach the broker", "refused, by the seed")
}

fn unknown() -> BrokerError {
    BrokerError::new(
        BrokerErrorKind::Unconfirmed,
        "hear the broker",
        "the answer is lost, by the seed",
    )
}

#[async_trait]
impl Broker for Link {
    async fn publish(&self, requests: &[Request]) -> Result<Vec<EntryId>, BrokerError> {
        let (requests, by) = (requests.to_vec(), self.instance.clone());
        self.call(Call::Publish, false, move |server| {
            let (requests, by) = (requests.clone(), by.clone());
            async move { server.publish(by.name(), &requests).await }
        })
        .await
    }

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

    async fn leave(&self, consumer: &Consumer) -> Result<(), BrokerError> {
        let consumer = consumer.clone();
        self.call(Call::Look, true, move |server| {
            let consumer = consumer.clone();
            async move { server.memory.leave(&consumer).await }
        })
        .await
    }

    async fn tidy(&self, consumer: &Consumer, silent: Duration) -> Result<Tidied, BrokerError> {
        let consumer = consumer.clone();
        self.call(Call::Look, true, move |server| {
            let consumer = consumer.clone();
            async move { server.memory.tidy(&consumer, silent).await }
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

    async fn attend(&self, requester: &ReplyTo) -> Result<Attended, BrokerError> {
        let requester = requester.clone();
        self.call(Call::Look, true, move |server| {
            let requester = requester.clone();
            async move { server.attend(&requester).await }
        })
        .await
    }

    fn replies(&self, reply_to: &ReplyTo) -> Box<dyn ReplyStream> {
        let (inner, unread) = self.server.replies(reply_to);
        Box::new(Replies {
            link: self.clone(),
            reply_to: reply_to.clone(),
            inner,
            unread,
            handed_out: 0,
        })
    }

    async fn depth(&self) -> Result<Depth, BrokerError> {
        self.call(Call::Look, true, |server| async move { server.memory.depth().await })
            .await
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
impl Records for Link {
    async fn accept(&self, requests: &[Acceptance]) -> Result<Vec<Result<Accepted, BrokerError>>, BrokerError> {
        let (requests, by) = (requests.to_vec(), self.instance.clone());
        self.call(Call::Publish, false, move |server| {
            let (requests, by) = (requests.clone(), by.clone());
            async move { server.accept(by.name(), &requests).await }
        })
        .await
    }

    async fn keep(
        &self,
        id: CorrelationId,
        entry: Option<EntryId>,
        budget: Budget,
        requester: &ReplyTo,
    ) -> Result<(), BrokerError> {
        let requester = requester.clone();
        self.call(Call::Record, true, move |server| {
            let requester = requester.clone();
            async move { server.memory.keep(id, entry, budget, &requester).await }
        })
        .await
    }

    async fn begin(&self, id: CorrelationId, attempt: u32) -> Result<Begun, BrokerError> {
        self.call(Call::Record, true, move |server| async move {
            server.memory.begin(id, attempt).await
        })
        .await
    }

    async fn note_progress(&self, id: CorrelationId, progress: &Progress) -> Result<(), BrokerError> {
        let progress = progress.clone();
        self.call(Call::Record, true, move |server| {
            let progress = progress.clone();
            async move { server.memory.note_progress(id, &progress).await }
        })
        .await
    }

    async fn finish(&self, replies: &[Reply]) -> Result<usize, BrokerError> {
        let replies = replies.to_vec();
        self.call(Call::Record, true, move |server| {
            let replies = replies.clone();
            async move { server.memory.finish(&replies).await }
        })
        .await
    }

    async fn store(&self, replies: &[Reply]) -> Result<(), BrokerError> {
        let replies = replies.to_vec();
        self.call(Call::Record, true, move |server| {
            let replies = replies.clone();
            async move { server.memory.store(&replies).await }
        })
        .await
    }

    async fn records(&self, ids: &[CorrelationId]) -> Result<Vec<Option<Record>>, BrokerError> {
        let ids = ids.to_vec();
        self.call(Call::Look, true, move |server| {
            let ids = ids.clone();
            async move { server.memory.records(&ids).await }
        })
        .await
    }

    async fn list(
        &self,
        status: Option<Status>,
        before: Option<CorrelationId>,
        max: usize,
    ) -> Result<Vec<Record>, BrokerError> {
        self.call(Call::Look, true, move |server| async move {
            server.memory.list(status, before, max).await
        })
        .await
    }

    async fn cancel(&self, id: CorrelationId, entry: Option<EntryId>) -> Result<Cancelled, BrokerError> {
        self.call(Call::Record, true, move |server| async move {
            let cancelled = server.memory.cancel(id, entry).await;
            server.log.note(id, || format!("to be cancelled: {cancelled:?}"));
            cancelled
        })
        .await
    }

    async fn cancelling(&self, ids: &[CorrelationId]) -> Result<Vec<CorrelationId>, BrokerError> {
        let ids = ids.to_vec();
        self.call(Call::Look, true, move |server| {
            let ids = ids.clone();
            async move { server.memory.cancelling(&ids).await }
        })
        .await
    }

    async fn sweep(&self) -> Result<Swept, BrokerError> {
        self.call(Call::Look, true, |server| async move { server.memory.sweep().await })
            .await
    }

    fn changes(&self) -> Box<dyn Changes> {
        self.server.memory.changes()
    }
}

/// The replies of one requester: handed out again until it comes back for the next.
struct Replies {
    link: Link,
    reply_to: ReplyTo,
    inner: Box<dyn ReplyStream>,
    unread: Unread,
    /// How many of those unread were handed out, so that coming back for more trims them.
    handed_out: usize,
}

impl Replies {
    fn unread(&self) -> std::sync::MutexGuard<'_, Vec<Reply>> {
        self.unread.lock().expect("nothing panics with the replies")
    }
}

#[async_trait]
impl ReplyStream for Replies {
    async fn next(&mut self) -> Result<Vec<Reply>, BrokerError> {
        let fate = self.link.fate(Call::Replies);
        if fate == Fate::Refused {
            return Err(refused());
        }
        let trims = !matches!(fate, Fate::Twice | Fate::Unknown(None));
        if trims {
            let handed_out = std::mem::take(&mut self.handed_out);
            let mut unread = self.unread();
            // Who was away for long may find that all of them were adopted.
            let left = handed_out.min(unread.len());
            unread.drain(..left);
        }
        if self.unread().is_empty() {
            let more = self.inner.next().await?;
            self.unread().extend(more);
        }
        if let Fate::Unknown(_) = fate {
            sleep(LONG_PATIENCE).await;
            return Err(unknown());
        }
        if let Fate::Fine(before, after) = fate {
            pause(before + after).await;
        }
        let replies = self.unread().clone();
        self.handed_out = replies.len();
        for reply in &replies {
            self.link.server.log.note(reply.id, || {
                format!("its reply is read by {}", self.link.instance.name())
            });
        }
        Ok(replies)
    }

    async fn close(&mut self) -> Result<(), BrokerError> {
        // Also what was handed out last: nothing has said that it was taken care of.
        let left = std::mem::take(&mut *self.unread());
        self.link.server.memory.finish(&left).await?;
        self.link.server.forget(&self.reply_to);
        self.inner.close().await
    }
}
