//! Terminals: the bounded places where work is done, whatever the operation. Whoever claims waits for free terminals
//! and claims only that many, so that the backlog stays in the stream where another worker can take it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use roundtrip::broker::Delivery;
use roundtrip::process::task;
use tokio::sync::{OwnedRwLockWriteGuard, OwnedSemaphorePermit, RwLock, RwLockReadGuard, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::executor::Executor;
use crate::in_flight::InFlight;
use crate::redelivery::deadlines::DUE;
use crate::spans;

/// The most deliveries of one claim; bounds the memory of one answer.
const MAX_CLAIM: usize = 256;

/// The terminals of one worker process, and what is at work in them.
#[derive(Debug)]
pub(crate) struct Terminals {
    free: Arc<Semaphore>,
    count: usize,
    /// Read by each claim under way, written by a suspect that waits for all of them to end.
    claiming: Arc<RwLock<()>>,
    /// Claims under way: each operation has at most one.
    claims: AtomicUsize,
    in_flight: Arc<InFlight>,
    running: TaskTracker,
    abandon: CancellationToken,
}

/// Room to claim for. The terminals stay free for direct calls meanwhile: an idle worker claims all the time.
#[derive(Debug)]
pub(crate) struct Room<'a> {
    count: usize,
    claims: &'a AtomicUsize,
    _claiming: RwLockReadGuard<'a, ()>,
}

/// All terminals, with nothing at work and nothing unsettled.
#[derive(Debug)]
pub(crate) struct All(OwnedSemaphorePermit);

/// While it is held, nobody claims.
pub(crate) type NoClaims = OwnedRwLockWriteGuard<()>;

/// One terminal.
#[derive(Debug)]
pub(crate) struct Terminal(#[allow(dead_code)] OwnedSemaphorePermit); // Gives it back when it is dropped.

impl Room<'_> {
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Makes it no larger than `count`.
    pub(crate) fn keep(&mut self, count: usize) {
        self.count = self.count.min(count);
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.claims.fetch_sub(1, Relaxed);
    }
}

impl Terminals {
    pub(crate) fn new(count: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(count)),
            count,
            claiming: Arc::default(),
            claims: AtomicUsize::new(0),
            in_flight: Arc::default(),
            running: TaskTracker::new(),
            abandon: CancellationToken::new(),
        }
    }

    /// Waits for a free terminal; returns how many are free, shared with the claims of other operations that wait.
    pub(crate) async fn room(&self) -> Room<'_> {
        // Behind what is in hand already and waits for one.
        drop(self.free.acquire().await.expect("the terminals are never closed"));
        let claiming = self.claiming.read().await;
        let claims = self.claims.fetch_add(1, Relaxed) + 1;
        let free = self.free.available_permits().clamp(1, MAX_CLAIM);
        Room {
            count: free.div_ceil(claims),
            claims: &self.claims,
            _claiming: claiming,
        }
    }

    /// Waits until no claim is under way; none begins while the result is held.
    pub(crate) async fn no_claims(&self) -> NoClaims {
        self.claiming.clone().write_owned().await
    }

    /// Waits until nothing is at work and nothing unsettled, and takes all terminals; `None` when that takes
    /// longer than `patience`.
    pub(crate) async fn take_all(&self, _: &NoClaims, patience: Duration) -> Option<All> {
        let all = async {
            let count = u32::try_from(self.count).expect("TERMINALS is a u32");
            let taken = self.free.clone().acquire_many_owned(count).await;
            self.in_flight.wait_until_empty().await;
            All(taken.expect("the terminals are never closed"))
        };
        timeout(patience, all).await.ok()
    }

    /// Takes one terminal, if one is free.
    pub(crate) fn take_one_now(&self) -> Option<Terminal> {
        self.free.clone().try_acquire_owned().ok().map(Terminal)
    }

    /// Puts each delivery to work in a terminal of its own. What came for a terminal that somebody else took meanwhile
    /// waits for the next that is free.
    pub(crate) fn start(&self, deliveries: Vec<Delivery>, executor: &Arc<Executor>) {
        for delivery in deliveries {
            self.start_in(self.take_one_now(), delivery, executor);
        }
    }

    /// Puts one delivery to work with nothing beside it, for at most `time`: what did no harm until then takes one
    /// terminal like any other.
    pub(crate) fn start_alone(&self, mut all: All, delivery: Delivery, time: Duration, executor: &Arc<Executor>) {
        let own = all.0.split(1).map(Terminal);
        self.start_in(own, delivery, executor);
        let (in_flight, abandon) = (self.in_flight.clone(), self.abandon.clone());
        self.running.spawn(task::owned(async move {
            let done = timeout(time, in_flight.wait_until_empty());
            let _ = abandon.run_until_cancelled(done).await;
            drop(all);
        }));
    }

    fn start_in(&self, terminal: Option<Terminal>, delivery: Delivery, executor: &Arc<Executor>) {
        let Some(cancelled) = self.in_flight.insert(&delivery) else {
            return;
        };
        executor.metrics.queue_wait.observe(delivery.waited.as_secs_f64());
        let (executor, abandon, in_flight) = (executor.clone(), self.abandon.clone(), self.in_flight.clone());
        let terminal = terminal.ok_or_else(|| next_free(self.free.clone()));
        self.running.spawn(task::owned(async move {
            let terminal = match terminal {
                Ok(terminal) => terminal,
                Err(next) => match abandon.run_until_cancelled(timeout_at(patience(&delivery), next)).await {
                    Some(Ok(terminal)) => terminal,
                    Some(Err(_)) => {
                        let told = executor.tell(delivery, Duration::ZERO);
                        return executor.settle(told, &abandon).await;
                    }
                    None => return,
                },
            };
            work(delivery, cancelled, &executor, &in_flight, &abandon).await;
            drop(terminal);
        }));
    }

    /// Settles deliveries that will not be worked on any more, which needs no terminal. `pause`: how long the
    /// upstream will not be asked.
    pub(crate) fn tell(&self, deliveries: Vec<Delivery>, pause: Duration, executor: &Arc<Executor>) {
        for delivery in deliveries {
            if self.in_flight.insert(&delivery).is_none() {
                continue;
            }
            executor.metrics.queue_wait.observe(delivery.waited.as_secs_f64());
            let (entry, told) = (delivery.receipt.entry, spans::process(&delivery));
            let settlement = executor.tell(delivery, pause);
            self.in_flight.settling(entry, spans::settle(told, &settlement));
            let (executor, abandon) = (executor.clone(), self.abandon.clone());
            let settling = async move { executor.settle(settlement, &abandon).await };
            self.running.spawn(task::owned(settling));
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn in_flight(&self) -> &InFlight {
        &self.in_flight
    }

    /// Waits until all work is done, at most `grace`; what is not done then is dropped. Returns whether all
    /// was done.
    pub(crate) async fn drain(&self, grace: Duration) -> bool {
        self.running.close();
        let done = timeout(grace, self.running.wait()).await.is_ok();
        if !done {
            tracing::warn!(
                count = self.running.len(),
                "the grace period is over; dropping what is still at work"
            );
            self.abandon.cancel();
            self.running.wait().await;
        }
        done
    }
}

/// Works on a delivery and hands its settlement on.
async fn work(
    delivery: Delivery,
    cancelled: CancellationToken,
    executor: &Executor,
    in_flight: &InFlight,
    abandon: &CancellationToken,
) {
    executor.metrics.active_terminals.inc();
    let entry = delivery.receipt.entry;
    let worked = spans::process(&delivery);
    let trace = worked.trace();
    let wish = cancelled.clone();
    let settlement = AssertUnwindSafe(executor.execute(delivery, cancelled, &trace)).catch_unwind();
    match abandon.run_until_cancelled(settlement).await {
        Some(Ok(settlement)) => {
            let settlement = settlement.asked_to_end(wish.is_cancelled());
            in_flight.settling(entry, spans::settle(worked, &settlement));
            executor.settle(settlement, abandon).await;
        }
        Some(Err(_)) => {
            // The handler's panics are caught further in: this is a mistake in the stack. Not
            // renewed any more, the request goes to another attempt, and at last to the dead letters.
            tracing::error!(%entry, "the stack around the handler panicked");
            in_flight.forget(entry);
        }
        None => {}
    }
    executor.metrics.active_terminals.dec();
}

/// The next terminal that is free. Whoever asks later, also the next claim, has one later.
fn next_free(free: Arc<Semaphore>) -> BoxFuture<'static, Terminal> {
    let next = async { Terminal(free.acquire_owned().await.expect("the terminals are never closed")) };
    let mut next = next.boxed();
    // Takes its place in the queue.
    match (&mut next).now_or_never() {
        Some(terminal) => ready(terminal).boxed(),
        None => next,
    }
}

/// How long a delivery may wait for a terminal: as long as it has time; of little time, half.
fn patience(delivery: &Delivery) -> Instant {
    let (now, deadline) = (Instant::now(), delivery.deadline());
    let left = deadline.map_or(Duration::ZERO, |deadline| deadline.saturating_duration_since(now));
    now + left - DUE.min(left / 2)
}
