//! The settle loop: whatever piled up goes in one call, again and again until the broker took it. Where it takes none,
//! because it may not, the work that is done stays in hand and claims stop: it would only be done again.

mod portions;

use std::slice;
use std::sync::Arc;
use std::time::Duration;

use roundtrip::batch::Batches;
use roundtrip::broker::{BrokerErrorKind, Settlement};
use roundtrip::process::logging::with_causes;
use roundtrip::resilience::backoff::Backoff;
use roundtrip::{Broker, BrokerError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::metrics::PoolMetrics;
use crate::terminals::Terminals;
use portions::{Stopped, settle};

/// The most settlements of one call, where they are small; bounds the time of one transaction.
pub(crate) const MAX_BATCH: usize = 256;

/// While settlements are refused: somebody has to give a permission, so there is no hurry.
const FIRST_REFUSED_PAUSE: Duration = Duration::from_millis(200);
const MAX_REFUSED_PAUSE: Duration = Duration::from_secs(5);

/// Settles until the last sender is gone and the queue is empty. After `give_up`, a batch the broker does
/// not take is left to its leases.
pub(crate) async fn run(
    broker: Arc<dyn Broker>,
    terminals: Arc<Terminals>,
    mut batches: Batches<Settlement>,
    metrics: PoolMetrics,
    refused: Refused,
    give_up: CancellationToken,
) {
    let mut batch = Vec::with_capacity(MAX_BATCH);
    while batches.next(&mut batch).await {
        metrics.settle_batch.observe(batch.len() as f64);
        let started = Instant::now();
        if let Err(Stopped { settled, error }) = settle(&broker, &batch, &give_up).await {
            if error.kind() == BrokerErrorKind::Rejected && !give_up.is_cancelled() {
                refused.begin(&error);
                while_refused(&broker, &mut batch, settled, &mut batches, &give_up).await;
                refused.end();
            } else {
                lost(&error, batch.len() - settled);
            }
        }
        metrics.settle.observe(started.elapsed().as_secs_f64());
        terminals.in_flight().remove(&batch);
    }
}

/// Tries what was refused, from there on, again and again. What is done meanwhile joins it.
async fn while_refused(
    broker: &Arc<dyn Broker>,
    batch: &mut Vec<Settlement>,
    from: usize,
    batches: &mut Batches<Settlement>,
    give_up: &CancellationToken,
) {
    let mut rest = batch[from..].to_vec();
    let mut pauses = Backoff::new(FIRST_REFUSED_PAUSE, MAX_REFUSED_PAUSE);
    for round in 0.. {
        if rest.len() > 1 && one_by_one(broker, &rest, round % rest.len(), give_up).await {
            return;
        }
        // Half of it at least: it is no use to be quick.
        let pause = MAX_REFUSED_PAUSE.min(pauses.next_delay() + FIRST_REFUSED_PAUSE);
        give_up.run_until_cancelled(sleep(pause)).await;
        let mut more = Vec::new();
        if let Ok(true) = timeout(Duration::ZERO, batches.next(&mut more)).await {
            rest.extend_from_slice(&more);
            batch.append(&mut more);
        }
        match settle(broker, &rest, give_up).await {
            Ok(()) => return,
            Err(Stopped { settled, error }) => {
                rest.drain(..settled);
                if error.kind() != BrokerErrorKind::Rejected || give_up.is_cancelled() {
                    return lost(&error, rest.len());
                }
            }
        }
    }
}

/// Where the broker takes one of them, each time another one is tried, the others have no company: those it refuses
/// alone are given up. Returns whether that was so.
async fn one_by_one(broker: &Arc<dyn Broker>, rest: &[Settlement], first: usize, give_up: &CancellationToken) -> bool {
    if settle(broker, slice::from_ref(&rest[first]), give_up).await.is_err() {
        return false;
    }
    for (at, settlement) in rest.iter().enumerate() {
        if at != first
            && let Err(Stopped { error, .. }) = settle(broker, slice::from_ref(settlement), give_up).await
        {
            lost(&error, 1);
        }
    }
    true
}

fn lost(error: &BrokerError, count: usize) {
    tracing::error!(
        error = with_causes(error),
        count,
        "could not settle; the work will be done again"
    );
}

/// Whether the broker refuses what settles.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    now: Arc<watch::Sender<bool>>,
    metrics: PoolMetrics,
}

impl Refused {
    pub(crate) fn new(metrics: PoolMetrics) -> Self {
        Self {
            now: Arc::default(),
            metrics,
        }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<bool> {
        self.now.subscribe()
    }

    /// Waits until settlements are taken.
    pub(crate) async fn end_of_it(&self) {
        if *self.now.borrow() {
            // Fails only when the sender is gone, which is ours.
            let _ = self.watch().wait_for(|refused| !refused).await;
        }
    }

    fn begin(&self, error: &BrokerError) {
        tracing::error!(
            error = with_causes(error),
            "the broker refuses settlements: nothing is claimed until it takes them, and what is done is kept in hand; \
             look at this user's permissions, above all for XADD, XACK and XDEL"
        );
        self.show(true);
    }

    fn end(&self) {
        tracing::info!("settlements are not refused any more");
        self.show(false);
    }

    fn show(&self, refused: bool) {
        self.metrics.settlement_refused.set(i64::from(refused));
        self.now.send_replace(refused);
    }
}
