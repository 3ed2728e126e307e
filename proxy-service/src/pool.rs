//! The workers of one process, from start to drain.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use roundtrip::batch;
use roundtrip::broker::{Broker, Consumer, MAX_WAIT, ResultStore, Settlement};
use roundtrip::observe::metrics::Metrics;
use roundtrip::process::hostname;
use roundtrip::process::listener;
use roundtrip::process::logging::with_causes;
use roundtrip::process::shutdown::spawn_essential;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::cancellation::{self, CancelListener};
use crate::claimer::Claimer;
use crate::config::WorkerOptions;
use crate::executor::Executor;
use crate::metrics::{PoolMetrics, WorkerMetrics};
use crate::operations::{Operations, Registered};
use crate::progress::{self, Reports};
use crate::served::Served;
use crate::settler::Refused;
use crate::stack::{self, StackOptions};
use crate::station::{Station, Stations};
use crate::terminals::Terminals;
use crate::{lease, maintenance, settler};

/// After the grace period, the time to settle what is done and to hand back what is not.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// At least so long a drain waits for a claim that is under way: dropped, it may lose its deliveries to nobody.
const CLAIM_TIMEOUT: Duration = MAX_WAIT.saturating_mul(2);

/// The workers of this process: their terminals, and a stack for each operation.
#[derive(Clone)]
pub struct WorkerPool {
    stations: Stations,
    refused: Refused,
    metrics: PoolMetrics,
}

/// Workers that claim. Ends with [`Running::drain`].
#[derive(Debug)]
pub struct Running {
    served: Arc<[Served]>,
    consumer: Consumer,
    terminals: Arc<Terminals>,
    stops: Stops,
    claimers: Vec<JoinHandle<()>>,
    maintenance: JoinHandle<()>,
    settler: JoinHandle<()>,
    /// Those that serve what is in hand.
    beside: Vec<JoinHandle<()>>,
    progress: JoinHandle<()>,
}

/// What ends the loops.
#[derive(Debug, Default)]
struct Stops {
    claiming: CancellationToken,
    renewing: CancellationToken,
    /// After it, what the broker does not take is left to its lease.
    giving_up: CancellationToken,
}

/// Puts the resilience stack around the work on an operation.
fn station(registered: &Registered, options: &WorkerOptions, metrics: &Metrics) -> Station {
    let Registered {
        name, handler, policy, ..
    } = registered;
    let metrics = WorkerMetrics::new(&metrics.of(*name));
    let upstream = Arc::new(stack::upstream_breaker(name.as_str()));
    metrics.upstream_circuit.set(upstream.state().gauge());
    let tuning = StackOptions {
        attempts: policy.attempts,
        attempt_timeout: policy.attempt_timeout.unwrap_or(options.attempt_timeout),
        cancel_grace: options.cancel_grace,
    };
    Station {
        operation: *name,
        handler: stack::around(handler.clone(), tuning, upstream.clone(), metrics.clone()),
        upstream,
        share: ((f64::from(options.terminals) * policy.share) as usize).max(1),
        metrics,
    }
}

impl WorkerPool {
    /// Puts a resilience stack around each operation. Nothing is claimed yet.
    #[must_use]
    pub fn new(operations: &Operations, options: &WorkerOptions, metrics: &Metrics) -> Self {
        let stations = operations.iter().map(|one| station(one, options, metrics));
        let stations = Stations::new(stations.collect(), options.terminals as usize);
        let metrics = PoolMetrics::new(metrics);
        metrics.terminals.set(i64::from(options.terminals));
        Self {
            stations,
            refused: Refused::new(metrics.clone()),
            metrics,
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
        ended: &CancellationToken,
    ) -> Running {
        let (consumer, stops) = (Consumer::unique(&hostname()), Stops::default());
        let served: Arc<[Served]> = self
            .stations
            .all
            .iter()
            .map(|station| station.served(broker.as_ref()))
            .collect();
        // As many places as terminals: work waits for one only while the broker takes no settlements.
        let (settlements, batches) = batch::channel::<Settlement>(self.stations.terminals.count(), settler::MAX_BATCH);
        let (reports, reported) = Reports::channel();
        let claimer = |(station, served): (&Station, &Served)| {
            let executor = Arc::new(Executor {
                handler: station.handler.clone(),
                max_deliveries: options.max_deliveries,
                records: records.clone(),
                reports: reports.clone(),
                settler: settlements.clone(),
                metrics: station.metrics.clone(),
            });
            let claimer = self.claimer(station, served, executor, consumer.clone(), options.lease);
            spawn_essential(ended, claimer.run(stops.claiming.clone()))
        };
        let claimers = self.stations.all.iter().zip(served.iter()).map(claimer).collect();
        tracing::info!(
            consumer = consumer.as_str(),
            terminals = self.stations.terminals.count(),
            "claiming requests"
        );
        Running {
            claimers,
            maintenance: self.maintain(&served, &records, &consumer, options, &stops, ended),
            settler: self.settle(broker, batches, &stops, ended),
            beside: self.serve_what_is_in_hand(&served, &records, &consumer, options, &stops, ended),
            progress: spawn_essential(ended, progress::run(records, reported)),
            served,
            consumer,
            terminals: self.stations.terminals.clone(),
            stops,
        }
    }

    fn claimer(
        &self,
        station: &Station,
        served: &Served,
        executor: Arc<Executor>,
        consumer: Consumer,
        lease: Duration,
    ) -> Claimer {
        Claimer {
            operation: station.operation,
            queue: served.queue.clone(),
            consumer,
            lease,
            terminals: self.stations.terminals.clone(),
            share: station.share,
            executor,
            upstream: station.upstream.clone(),
            refused: self.refused.clone(),
            metrics: station.metrics.clone(),
        }
    }

    fn maintain(
        &self,
        served: &Arc<[Served]>,
        records: &Arc<dyn ResultStore>,
        consumer: &Consumer,
        options: &WorkerOptions,
        stops: &Stops,
        ended: &CancellationToken,
    ) -> JoinHandle<()> {
        let maintaining = maintenance::run(
            served.clone(),
            records.clone(),
            consumer.clone(),
            options.terminals,
            options.lease,
            self.metrics.clone(),
            stops.claiming.clone(),
        );
        spawn_essential(ended, maintaining)
    }

    fn settle(
        &self,
        broker: Arc<dyn Broker>,
        batches: batch::Batches<Settlement>,
        stops: &Stops,
        ended: &CancellationToken,
    ) -> JoinHandle<()> {
        let settling = settler::run(
            broker,
            self.stations.terminals.clone(),
            batches,
            self.metrics.clone(),
            self.refused.clone(),
            stops.giving_up.clone(),
        );
        spawn_essential(ended, settling)
    }

    /// Renews leases, and hears who should end.
    fn serve_what_is_in_hand(
        &self,
        served: &Arc<[Served]>,
        records: &Arc<dyn ResultStore>,
        consumer: &Consumer,
        options: &WorkerOptions,
        stops: &Stops,
        ended: &CancellationToken,
    ) -> Vec<JoinHandle<()>> {
        let renewal = lease::renew(
            served.clone(),
            consumer.clone(),
            self.stations.terminals.clone(),
            options.renewal(),
            stops.renewing.clone(),
        );
        let cancels = Arc::new(CancelListener {
            records: records.clone(),
            terminals: self.stations.terminals.clone(),
        });
        let hearing = listener::listen(records.clone(), cancels, cancellation::FALLBACK, stops.renewing.clone());
        vec![spawn_essential(ended, renewal), spawn_essential(ended, hearing)]
    }

    /// Where the work is done.
    #[must_use]
    pub fn stations(&self) -> &Stations {
        &self.stations
    }

    /// Whether the broker refuses what settles, so that nothing is claimed.
    #[must_use]
    pub fn settlement_refused(&self) -> watch::Receiver<bool> {
        self.refused.watch()
    }
}

impl fmt::Debug for WorkerPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerPool")
            .field("stations", &self.stations)
            .finish_non_exhaustive()
    }
}

impl Running {
    /// Stops claiming, waits at most `grace` for what is in hand, settles it, and hands the rest to whoever
    /// reclaims next.
    pub async fn drain(mut self, grace: Duration) {
        let deadline = Instant::now() + grace;
        self.stops.claiming.cancel();
        let claimed = self.end_claims(deadline).await;
        let _ = self.maintenance.await;
        let left = deadline.saturating_duration_since(Instant::now());
        let done = self.terminals.drain(left).await;
        // With the claimers and all work gone, so are the senders: the settler ends by itself.
        let rest = deadline.saturating_duration_since(Instant::now()).max(FLUSH_TIMEOUT);
        if timeout(rest, &mut self.settler).await.is_err() {
            self.stops.giving_up.cancel();
            let _ = timeout(FLUSH_TIMEOUT, &mut self.settler).await;
        }
        self.stops.renewing.cancel();
        let _ = join_all(self.beside).await;
        let _ = timeout(FLUSH_TIMEOUT, self.progress).await;
        let leaving = self.served.iter().map(|served| served.queue.deregister(&self.consumer));
        match timeout(FLUSH_TIMEOUT, try_join_all(leaving)).await {
            Ok(Ok(_)) => tracing::info!(all_done = done && claimed, "the workers have stopped"),
            Ok(Err(error)) => tracing::warn!(error = with_causes(&error), "could not hand work back; its leases will"),
            Err(_) => tracing::warn!("could not hand work back in time; its leases will"),
        }
    }

    /// Waits for the claims under way: they are ours, and their deliveries are in hand when they return. A turn that
    /// reads large entries takes longer than there is time for; what it took is handed back with the rest. Returns
    /// whether all ended well.
    async fn end_claims(&mut self, deadline: Instant) -> bool {
        let until = deadline.max(Instant::now() + CLAIM_TIMEOUT);
        let mut well = true;
        for claimer in &mut self.claimers {
            match timeout_at(until, &mut *claimer).await {
                Ok(ended) => well &= ended.is_ok(),
                Err(_) => {
                    tracing::warn!("the grace period is over; dropping what is still being read");
                    claimer.abort();
                    let _ = claimer.await;
                    well = false;
                }
            }
        }
        well
    }
}
