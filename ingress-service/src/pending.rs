//! Requests awaiting a reply. An entry lives exactly as long as its [`PendingReply`]: whoever stops waiting,
//! for whatever reason, takes the entry and its place along.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use prometheus::IntGauge;
use roundtrip::broker::{BrokerErrorKind, EntryId};
use roundtrip::observe::trace::Span;
use roundtrip::{CorrelationId, Fault};
use tokio::sync::oneshot;

/// A power of two, well above the number of cores: two threads rarely want the same lock.
const SHARDS: usize = 64;

type Waiting = HashMap<CorrelationId, Waiter>;

type Shard = Mutex<Waiting>;

/// How waiting ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The reply came.
    Replied(Result<Bytes, Fault>),
    /// The request could not be published.
    Unpublished(BrokerErrorKind),
}

/// What one who waits is told.
#[derive(Debug)]
enum News {
    Outcome(Outcome),
    /// Nothing yet, and there is little time left: connections are about to be cut off. What comes later comes here.
    LastCall(oneshot::Receiver<News>),
}

/// Who waits, and where the request is on its way into the stream.
#[derive(Debug)]
struct Waiter {
    sender: oneshot::Sender<News>,
    stage: Stage,
    /// Told when the stage changes, where somebody waits for that.
    moved: Option<oneshot::Sender<()>>,
    /// Ends when the request is published, or nobody waits any more.
    publishing: Span,
}

/// How far a request has come on its way into the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nobody has sent it anywhere: it can be taken back.
    Queued,
    /// It is being sent, and may be in the stream.
    Sent,
    /// It is in the stream, as this entry.
    Published(EntryId),
}

/// All requests in flight, at most a fixed number.
#[derive(Debug)]
pub(crate) struct Pending {
    shards: [Shard; SHARDS],
    in_flight: AtomicUsize,
    max_in_flight: usize,
    gauge: IntGauge,
}

/// One request in flight.
#[derive(Debug)]
pub(crate) struct PendingReply {
    id: CorrelationId,
    receiver: oneshot::Receiver<News>,
    pending: Arc<Pending>,
}

impl Pending {
    pub(crate) fn new(max_in_flight: usize, gauge: IntGauge) -> Arc<Self> {
        Arc::new(Self {
            shards: std::array::from_fn(|_| Shard::default()),
            in_flight: AtomicUsize::new(0),
            max_in_flight,
            gauge,
        })
    }

    /// Admits a request; `None` when the maximum is in flight.
    pub(crate) fn register(self: &Arc<Self>, id: CorrelationId) -> Option<PendingReply> {
        let admit = |count| (count < self.max_in_flight).then_some(count + 1);
        self.in_flight
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, admit)
            .ok()?;
        self.gauge.inc();
        let (sender, receiver) = oneshot::channel();
        self.shard(id).insert(
            id,
            Waiter {
                sender,
                stage: Stage::Queued,
                moved: None,
                publishing: Span::default(),
            },
        );
        Some(PendingReply {
            id,
            receiver,
            pending: self.clone(),
        })
    }

    /// Notes that a request is about to be sent, if somebody waits for it; otherwise it need not be.
    pub(crate) fn send(&self, id: CorrelationId) -> bool {
        match self.shard(id).get_mut(&id) {
            Some(waiter) => {
                waiter.stage = Stage::Sent;
                true
            }
            None => false,
        }
    }

    /// Notes that a request was not sent after all, and may be soon.
    pub(crate) fn requeue(&self, id: CorrelationId) {
        if let Some(waiter) = self.shard(id).get_mut(&id) {
            waiter.stage = Stage::Queued;
        }
    }

    /// Notes where a request is in the stream. Returns whether somebody waits for it.
    pub(crate) fn published(&self, id: CorrelationId, entry: EntryId) -> bool {
        let mut shard = self.shard(id);
        let waiter = shard.get_mut(&id);
        let waits = waiter.is_some();
        if let Some(waiter) = waiter {
            waiter.stage = Stage::Published(entry);
            if let Some(moved) = waiter.moved.take() {
                let _ = moved.send(());
            }
            if waiter.publishing.is_recorded() {
                waiter.publishing = Span::default();
            }
        }
        waits
    }

    /// Hands an outcome to whoever waits for it; gives it back when nobody does.
    pub(crate) fn complete(&self, id: CorrelationId, outcome: Outcome) -> Option<Outcome> {
        // Sent before the lock is let go: who finds no entry any more finds the outcome.
        let mut shard = self.shard(id);
        match shard.remove(&id) {
            Some(waiter) => match waiter.sender.send(News::Outcome(outcome)) {
                Err(News::Outcome(outcome)) => Some(outcome),
                _ => None,
            },
            None => Some(outcome),
        }
    }

    /// Tells all who wait that there is little time left. No call pays for this while it waits.
    pub(crate) fn last_call(&self) {
        for shard in &self.shards {
            let mut waiting = shard.lock().expect("no code panics while it holds a shard");
            for waiter in waiting.values_mut() {
                let (later, receiver) = oneshot::channel();
                let now = std::mem::replace(&mut waiter.sender, later);
                let _ = now.send(News::LastCall(receiver));
            }
        }
    }

    /// Whether the maximum is in flight.
    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.max_in_flight
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    fn shard(&self, id: CorrelationId) -> MutexGuard<'_, Waiting> {
        // A random byte of a version 7 UUID: those behind it may name a partition.
        let shard = usize::from(id.as_uuid().as_bytes()[13]) % SHARDS;
        self.shards[shard]
            .lock()
            .expect("no code panics while it holds a shard")
    }
}

impl PendingReply {
    /// Waits for the outcome; `None` at the last call. Once it was handed out, there is no other.
    pub(crate) async fn outcome(&mut self) -> Option<Outcome> {
        let news = (&mut self.receiver).await;
        match news.expect("the entry, and with it the sender, lives as long as this value") {
            News::Outcome(outcome) => Some(outcome),
            News::LastCall(later) => {
                self.receiver = later;
                None
            }
        }
    }

    /// Who waits.
    pub(crate) fn id(&self) -> CorrelationId {
        self.id
    }

    /// Keeps a span until the request is published.
    pub(crate) fn publishing(&self, span: Span) {
        if span.is_recorded()
            && let Some(waiter) = self.pending.shard(self.id).get_mut(&self.id)
        {
            waiter.publishing = span;
        }
    }

    /// Where the request is in the stream, once that is known.
    pub(crate) fn entry(&self) -> Option<EntryId> {
        match self.pending.shard(self.id).get(&self.id)?.stage {
            Stage::Published(entry) => Some(entry),
            Stage::Queued | Stage::Sent => None,
        }
    }

    /// Waits until the request is in the stream, or its outcome is known.
    pub(crate) async fn published(&self) {
        let moved = match self.pending.shard(self.id).get_mut(&self.id) {
            Some(waiter) if !matches!(waiter.stage, Stage::Published(_)) => {
                let (sender, receiver) = oneshot::channel();
                waiter.moved = Some(sender);
                receiver
            }
            _ => return,
        };
        // Dropped without a word where the outcome came first.
        let _ = moved.await;
    }

    /// Takes a request back that was not sent yet: then it never will be.
    pub(crate) fn take_back(&self) -> bool {
        let mut shard = self.pending.shard(self.id);
        let queued = shard.get(&self.id).is_some_and(|waiter| waiter.stage == Stage::Queued);
        queued && shard.remove(&self.id).is_some()
    }

    /// Stops waiting, as one does who leaves; the outcome, where it came unseen.
    pub(crate) fn leave(&mut self) -> Option<Outcome> {
        self.pending.shard(self.id).remove(&self.id);
        loop {
            match self.receiver.try_recv().ok()? {
                News::Outcome(outcome) => return Some(outcome),
                News::LastCall(later) => self.receiver = later,
            }
        }
    }

    /// Stops waiting; the outcome, where it came before that.
    pub(crate) fn give_up(&mut self) -> Option<Outcome> {
        let waiter = self.pending.shard(self.id).remove(&self.id);
        match waiter {
            Some(_) => None,
            // Whoever took the entry out has sent it.
            None => self.leave(),
        }
    }
}

impl Drop for PendingReply {
    fn drop(&mut self) {
        self.pending.shard(self.id).remove(&self.id);
        self.pending.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.pending.gauge.dec();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use roundtrip::OperationName;
    use roundtrip::broker::Position;

    use super::*;

    fn pending(max: usize) -> Arc<Pending> {
        Pending::new(max, IntGauge::new("pending", "pending").unwrap())
    }

    fn entries(pending: &Pending) -> usize {
        pending.shards.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }

    fn replied() -> Outcome {
        Outcome::Replied(Ok(Bytes::from_static(b"{}")))
    }

    #[tokio::test]
    async fn a_reply_reaches_who_waits_for_it_and_frees_its_place() {
        let pending = pending(10);
        let (one, other) = (CorrelationId::new(), CorrelationId::new());
        let (mut waits, mut waits_too) = (pending.register(one).unwrap(), pending.register(other).unwrap());
        assert!(pending.complete(other, Outcome::Replied(Ok("other".into()))).is_none());
        assert!(pending.complete(one, Outcome::Replied(Ok("one".into()))).is_none());
        assert!(matches!(waits.outcome().await, Some(Outcome::Replied(Ok(data))) if data == "one"));
        assert!(matches!(waits_too.outcome().await, Some(Outcome::Replied(Ok(data))) if data == "other"));
        drop((waits, waits_too));
        assert_eq!((pending.len(), entries(&pending), pending.gauge.get()), (0, 0, 0));
    }

    #[test]
    fn a_reply_for_an_unknown_id_is_for_nobody() {
        assert!(pending(1).complete(CorrelationId::new(), replied()).is_some());
    }

    #[test]
    fn a_second_reply_is_for_nobody() {
        let (pending, id) = (pending(1), CorrelationId::new());
        let _waits = pending.register(id).unwrap();
        assert!(pending.complete(id, replied()).is_none());
        assert!(pending.complete(id, replied()).is_some());
    }

    #[test]
    fn dropping_a_caller_frees_its_entry() {
        let (pending, id) = (pending(1), CorrelationId::new());
        drop(pending.register(id).unwrap());
        assert_eq!((pending.len(), entries(&pending)), (0, 0));
        assert!(pending.complete(id, replied()).is_some());
    }

    #[tokio::test]
    async fn who_gives_up_gets_what_came_before() {
        let (pending, id) = (pending(1), CorrelationId::new());
        let mut waits = pending.register(id).unwrap();
        let entry = EntryId::of(OperationName::first(), Position { millis: 7, sequence: 1 });
        pending.published(id, entry);
        assert_eq!(waits.entry(), Some(entry));
        pending.complete(id, replied());
        assert!(matches!(waits.give_up(), Some(Outcome::Replied(_))));
        drop(waits);
        let mut waits = pending.register(id).unwrap();
        assert!(waits.give_up().is_none());
        assert!(
            pending.complete(id, replied()).is_some(),
            "it goes to nobody, and is not lost"
        );
    }

    #[test]
    fn no_more_than_the_maximum_is_admitted() {
        let pending = pending(2);
        let first = pending.register(CorrelationId::new()).unwrap();
        let _second = pending.register(CorrelationId::new()).unwrap();
        assert!(pending.register(CorrelationId::new()).is_none());
        drop(first);
        assert!(pending.register(CorrelationId::new()).is_some());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn under_many_threads_nothing_leaks() {
        let pending = pending(50);
        let callers = (0..2000).map(|n| {
            let pending = pending.clone();
            tokio::spawn(async move {
                let id = CorrelationId::new();
                let Some(mut reply) = pending.register(id) else { return };
                if n % 3 == 0 {
                    pending.complete(id, replied());
                    reply.outcome().await;
                }
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
        assert_eq!((pending.len(), entries(&pending)), (0, 0));
    }
}
