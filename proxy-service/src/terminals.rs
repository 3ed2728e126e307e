//! Terminals: the bounded places where work is done. Whoever claims takes terminals first and claims only
//! that many, so that the backlog stays in the stream where another worker can take it.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use roundtrip::batch::Batcher;
use roundtrip::broker::{Delivery, Settlement};
use roundtrip::process::task;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::executor::{self, Executor};
use crate::handler::BoxHandler;
use crate::in_flight::InFlight;
use crate::metrics::WorkerMetrics;
use crate::redelivery::deadlines::DUE;
use crate::spans;

/// The most deliveries of one claim; bounds the memory of one answer.
const MAX_CLAIM: usize = 256;

/// The terminals of one worker process, and what is at work in them.
#[derive(Debug)]
pub(crate) struct Terminals {
    free: Arc<Semaphore>,
    count: usize,
    /// Those of the claim that waits.
    lent: Mutex<Option<OwnedSemaphorePermit>>,
    in_flight: Arc<InFlight>,
    running: TaskTracker,
    abandon: CancellationToken,
    metrics: WorkerMetrics,
}

/// Terminals taken, to claim for.
#[derive(Debug)]
pub(crate) struct Taken(OwnedSemaphorePermit);

impl Taken {
    pub(crate) fn count(&self) -> usize {
        self.0.num_permits()
    }

    /// Gives back all but `count`.
    pub(crate) fn keep(&mut self, count: usize) {
        if let Some(rest) = self.count().checked_sub(count) {
            drop(self.0.split(rest));
        }
    }
}

/// Who works, and where the results go.
pub(crate) struct Work {
    pub(crate) handler: BoxHandler,
    pub(crate) executor: Executor,
    pub(crate) settler: Batcher<Settlement>,
}

impl Terminals {
    pub(crate) fn new(count: usize, metrics: WorkerMetrics) -> Self {
        metrics.terminals.set(count as i64);
        Self {
            free: Arc::new(Semaphore::new(count)),
            count,
            lent: Mutex::default(),
            in_flight: Arc::default(),
            running: TaskTracker::new(),
            abandon: CancellationToken::new(),
            metrics,
        }
    }

    /// Waits for a free terminal and takes all that are free with it.
    pub(crate) async fn take(&self) -> Taken {
        let mut taken = self
            .free
            .clone()
            .acquire_owned()
            .await
            .expect("the terminals are never closed");
        let more = self.free.available_permits().min(MAX_CLAIM - 1);
        // Lost only to a call over HTTP that takes one this moment; then the next claim has the rest.
        if let Ok(more) = self.free.clone().try_acquire_many_owned(more as u32) {
            taken.merge(more);
        }
        Taken(taken)
    }

    /// Waits until nothing is at work and nothing unsettled, and takes all terminals; `None` when that takes
    /// longer than `patience`.
    pub(crate) async fn take_all(&self, patience: Duration) -> Option<Taken> {
        let all = async {
            let count = u32::try_from(self.count).expect("TERMINALS is a u32");
            let taken = self.free.clone().acquire_many_owned(count).await;
            self.in_flight.wait_until_at_most(0).await;
            Taken(taken.expect("the terminals are never closed"))
        };
        tokio::time::timeout(patience, all).await.ok()
    }

    /// Takes one terminal, if one is free, or only waits for what a claim may bring.
    pub(crate) fn take_one_now(&self) -> Option<Taken> {
        let free = self.free.clone().try_acquire_owned().ok();
        free.or_else(|| self.lent().as_mut()?.split(1)).map(Taken)
    }

    /// Waits for a claim, or for a look at what was dropped, that was made for these terminals. Direct calls may take some of them meanwhile: an idle
    /// worker waits like that all the time.
    pub(crate) async fn lend_during<T>(&self, taken: Taken, claim: impl Future<Output = T>) -> (Taken, T) {
        *self.lent() = Some(taken.0);
        let outcome = claim.await;
        let left = self.lent().take().expect("only who lends takes back");
        (Taken(left), outcome)
    }

    fn lent(&self) -> MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.lent
            .lock()
            .expect("no code panics while it holds the terminals lent")
    }

    /// Puts each delivery to work in a terminal of its own; the terminals left over are free again. What came for a
    /// terminal that a direct call took meanwhile waits for the next that is free.
    pub(crate) fn start(&self, mut taken: Taken, deliveries: Vec<Delivery>, work: &Arc<Work>) {
        for delivery in deliveries {
            self.start_in(taken.0.split(1), delivery, work);
        }
    }

    /// Puts one delivery to work with nothing beside it, for at most `time`: what did no harm until then takes one
    /// terminal like any other.
    pub(crate) fn start_alone(&self, mut taken: Taken, delivery: Delivery, time: Duration, work: &Arc<Work>) {
        let own = taken.0.split(1);
        self.start_in(own, delivery, work);
        let (in_flight, abandon) = (self.in_flight.clone(), self.abandon.clone());
        self.running.spawn(task::owned(async move {
            let done = timeout(time, in_flight.wait_until_at_most(0));
            let _ = abandon.run_until_cancelled(done).await;
            drop(taken);
        }));
    }

    fn start_in(&self, terminal: Option<OwnedSemaphorePermit>, delivery: Delivery, work: &Arc<Work>) {
        let Some(cancelled) = self.in_flight.insert(&delivery) else {
            return;
        };
        self.metrics.queue_wait.observe(delivery.waited.as_secs_f64());
        let (work, abandon, in_flight) = (work.clone(), self.abandon.clone(), self.in_flight.clone());
        let (metrics, terminal) = (
            self.metrics.clone(),
            terminal.ok_or_else(|| next_free(self.free.clone())),
        );
        self.running.spawn(task::owned(async move {
            let terminal = match terminal {
                Ok(terminal) => terminal,
                Err(next) => match abandon.run_until_cancelled(timeout_at(patience(&delivery), next)).await {
                    Some(Ok(terminal)) => terminal,
                    Some(Err(_)) => {
                        let told = work.executor.tell(delivery, Duration::ZERO);
                        return settle(told, &work, &abandon).await;
                    }
                    None => return,
                },
            };
            metrics.active_terminals.inc();
            let entry = delivery.receipt.entry;
            let worked = spans::process(&delivery);
            let trace = worked.trace();
            let wish = cancelled.clone();
            let settlement = executor::settlement(delivery, cancelled, &trace, work.handler.clone(), &work.executor);
            match abandon
                .run_until_cancelled(AssertUnwindSafe(settlement).catch_unwind())
                .await
            {
                Some(Ok(settlement)) => {
                    let settlement = settlement.asked_to_end(wish.is_cancelled());
                    in_flight.settling(entry, spans::settle(worked, &settlement));
                    settle(settlement, &work, &abandon).await;
                }
                Some(Err(_)) => {
                    // The handler's panics are caught further in: this is a mistake in the stack. Not
                    // renewed any more, the request goes to another attempt, and at last to the dead letters.
                    tracing::error!(%entry, "the stack around the handler panicked");
                    in_flight.forget(entry);
                }
                None => {}
            }
            metrics.active_terminals.dec();
            drop(terminal);
        }));
    }

    /// Settles deliveries that will not be worked on any more, which needs no terminal. `pause`: how long the
    /// upstream will not be asked.
    pub(crate) fn tell(&self, deliveries: Vec<Delivery>, pause: Duration, work: &Arc<Work>) {
        for delivery in deliveries {
            if self.in_flight.insert(&delivery).is_none() {
                continue;
            }
            self.metrics.queue_wait.observe(delivery.waited.as_secs_f64());
            let (entry, told) = (delivery.receipt.entry, spans::process(&delivery));
            let settlement = work.executor.tell(delivery, pause);
            self.in_flight.settling(entry, spans::settle(told, &settlement));
            let (work, abandon) = (work.clone(), self.abandon.clone());
            let settling = async move { settle(settlement, &work, &abandon).await };
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
        let done = tokio::time::timeout(grace, self.running.wait()).await.is_ok();
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

/// The next terminal that is free. Whoever asks later, also the next claim, has one later.
fn next_free(free: Arc<Semaphore>) -> BoxFuture<'static, OwnedSemaphorePermit> {
    let next = async { free.acquire_owned().await.expect("the terminals are never closed") };
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

/// Hands a settlement on. What finds no place before it is abandoned, or comes after the last batch, returns to the
/// stream with its lease.
async fn settle(settlement: Settlement, work: &Work, abandon: &CancellationToken) {
    tokio::select! {
        biased;
        _ = work.settler.send(settlement) => {}
        () = abandon.cancelled() => {}
    }
}
