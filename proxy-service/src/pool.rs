//! The workers of one process, from start to drain.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use roundtrip::broker::{Consumer, MAX_WAIT, ResultStore, Settlement};
use roundtrip::process::hostname;
use roundtrip::process::listener;
use roundtrip::process::logging::with_causes;
use roundtrip::process::shutdown::spawn_essential;
use roundtrip::resilience::breaker::Breaker;
use roundtrip::{Broker, Request, batch};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::cancellation::{self, CancelListener};
use crate::claimer::Claimer;
use crate::config::WorkerOptions;
use crate::executor::Executor;
use crate::failure::Failure;
use crate::handler::{BoxHandler, Handler, Job};
use crate::metrics::WorkerMetrics;
use crate::progress::{self, Reports};
use crate::settler::Refused;
use crate::stack::{self, StackOptions};
use crate::terminals::{Terminals, Work};
use crate::{lease, maintenance, settler};

/// After the grace period, the time to settle what is done and to hand back what is not.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// At least so long a drain waits for a claim that is under way: dropped, it may lose its deliveries to nobody.
const CLAIM_TIMEOUT: Duration = MAX_WAIT.saturating_mul(2);

/// The workers of this process: their terminals, and the handler's stack.
#[derive(Clone)]
pub struct WorkerPool {
    terminals: Arc<Terminals>,
    handler: BoxHandler,
    upstream: Arc<Breaker>,
    refused: Refused,
}

/// WorkerPool that claim. Ends with [`Running::drain`].
#[derive(Debug)]
pub struct Running {
    broker: Arc<dyn Broker>,
    consumer: Consumer,
    terminals: Arc<Terminals>,
    stop_claiming: CancellationToken,
    stop_renewing: CancellationToken,
    give_up: CancellationToken,
    claimer: JoinHandle<()>,
    renewer: JoinHandle<()>,
    upkeep: JoinHandle<()>,
    cancels: JoinHandle<()>,
    progress: JoinHandle<()>,
    settler: JoinHandle<()>,
}

impl WorkerPool {
    /// Puts the resilience stack around `handler`. Nothing is claimed yet.
    #[must_use]
    pub fn new(handler: impl Handler, options: &WorkerOptions, metrics: WorkerMetrics) -> Self {
        let upstream = Arc::new(stack::upstream_breaker());
        let tuning = StackOptions {
            attempt_timeout: options.attempt_timeout,
            cancel_grace: options.cancel_grace,
        };
        metrics.upstream_circuit.set(upstream.state().gauge());
        Self {
            handler: stack::around(Arc::new(handler), tuning, upstream.clone(), metrics.clone()),
            refused: Refused::new(metrics.clone()),
            terminals: Arc::new(Terminals::new(options.terminals as usize, metrics)),
            upstream,
        }
    }

    /// Starts to claim from `broker`, as a consumer of its own. `ended` is cancelled when one of the loops
    /// ends, asked or not.
    #[must_use]
    pub fn start(
        &self,
        broker: Arc<dyn Broker>,
        records: Arc<dyn ResultStore>,
        options: &WorkerOptions,
        metrics: &WorkerMetrics,
        ended: &CancellationToken,
    ) -> Running {
        let consumer = Consumer::unique(&hostname());
        let (stop_claiming, stop_renewing, give_up) = Default::default();
        // As many places as terminals: work waits for one only while the broker takes no settlements.
        let (sender, batches) = batch::channel::<Settlement>(self.terminals.count(), settler::MAX_BATCH);
        let (reports, reported) = Reports::channel();
        let work = Arc::new(Work {
            handler: self.handler.clone(),
            executor: Executor {
                max_deliveries: options.max_deliveries,
                records: records.clone(),
                reports,
                metrics: metrics.clone(),
            },
            settler: sender,
        });
        let claimer = Claimer {
            broker: broker.clone(),
            consumer: consumer.clone(),
            lease: options.lease,
            terminals: self.terminals.clone(),
            work,
            upstream: self.upstream.clone(),
            refused: self.refused.clone(),
            metrics: metrics.clone(),
        };
        let renewal = lease::renew(
            broker.clone(),
            consumer.clone(),
            self.terminals.clone(),
            options.renewal(),
            metrics.clone(),
            CancellationToken::clone(&stop_renewing),
        );
        let cancels = Arc::new(CancelListener {
            records: records.clone(),
            terminals: self.terminals.clone(),
        });
        let cancels = listener::listen(
            records.clone(),
            cancels,
            cancellation::FALLBACK,
            CancellationToken::clone(&stop_renewing),
        );
        let upkeep = maintenance::run(
            broker.clone(),
            records.clone(),
            consumer.clone(),
            self.terminals.count() as u32,
            options.lease,
            metrics.clone(),
            CancellationToken::clone(&stop_claiming),
        );
        let settlement = settler::run(
            broker.clone(),
            self.terminals.clone(),
            batches,
            metrics.clone(),
            self.refused.clone(),
            CancellationToken::clone(&give_up),
        );
        tracing::info!(
            consumer = consumer.as_str(),
            terminals = self.terminals.count(),
            "claiming requests"
        );
        Running {
            claimer: spawn_essential(ended, claimer.run(CancellationToken::clone(&stop_claiming))),
            renewer: spawn_essential(ended, renewal),
            upkeep: spawn_essential(ended, upkeep),
            cancels: spawn_essential(ended, cancels),
            progress: spawn_essential(ended, progress::run(records, reported)),
            settler: spawn_essential(ended, settlement),
            broker,
            consumer,
            terminals: self.terminals.clone(),
            stop_claiming,
            stop_renewing,
            give_up,
        }
    }

    /// Works on one request at once, past the stream, in a terminal of its own; `None` when none is free.
    pub async fn work_on(&self, request: Request) -> Option<Result<Bytes, Failure>> {
        let _terminal = self.terminals.take_one_now()?;
        let deadline = Instant::now() + request.budget.as_duration();
        Some(self.handler.handle(Job::new(request, deadline)).await)
    }

    /// Terminals at work, and terminals there are.
    #[must_use]
    pub fn occupancy(&self) -> (usize, usize) {
        (self.terminals.in_flight().len(), self.terminals.count())
    }

    /// Whether the broker refuses what settles, so that nothing is claimed.
    #[must_use]
    pub fn settlement_refused(&self) -> watch::Receiver<bool> {
        self.refused.watch()
    }

    /// The breaker around the upstream.
    #[must_use]
    pub fn upstream(&self) -> &Breaker {
        &self.upstream
    }
}

impl fmt::Debug for WorkerPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerPool")
            .field("terminals", &self.terminals)
            .finish_non_exhaustive()
    }
}

impl Running {
    /// Stops claiming, waits at most `grace` for what is in hand, settles it, and hands the rest to whoever
    /// reclaims next.
    pub async fn drain(mut self, grace: Duration) {
        let deadline = Instant::now() + grace;
        self.stop_claiming.cancel();
        // A claim that is under way is ours: its deliveries are in hand when it returns. A turn that reads large entries
        // takes longer than there is time for; what it took is handed back with the rest.
        let claim_ends = deadline.max(Instant::now() + CLAIM_TIMEOUT);
        let claimed = timeout_at(claim_ends, &mut self.claimer).await;
        if claimed.is_err() {
            tracing::warn!("the grace period is over; dropping what is still being read");
            self.claimer.abort();
            let _ = (&mut self.claimer).await;
        }
        let _ = self.upkeep.await;
        let done = self
            .terminals
            .drain(deadline.saturating_duration_since(Instant::now()))
            .await;
        // With the claimer and all work gone, so are the senders: the settler ends by itself.
        let rest = deadline.saturating_duration_since(Instant::now()).max(FLUSH_TIMEOUT);
        if timeout(rest, &mut self.settler).await.is_err() {
            self.give_up.cancel();
            let _ = timeout(FLUSH_TIMEOUT, &mut self.settler).await;
        }
        self.stop_renewing.cancel();
        let _ = self.renewer.await;
        let _ = self.cancels.await;
        let _ = timeout(FLUSH_TIMEOUT, self.progress).await;
        match timeout(FLUSH_TIMEOUT, self.broker.deregister(&self.consumer)).await {
            Ok(Ok(())) => tracing::info!(
                all_done = done && matches!(claimed, Ok(Ok(()))),
                "the workers have stopped"
            ),
            Ok(Err(error)) => tracing::warn!(error = with_causes(&error), "could not hand work back; its leases will"),
            Err(_) => tracing::warn!("could not hand work back in time; its leases will"),
        }
    }
}
