//! What a process knows of its own condition. Sampled in the background, so that asking costs nothing and
//! a broker that hangs does not hang those who ask.

mod workforce;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::try_join_all;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::observe::metrics::{BrokerMetrics, Metrics, QueueMetrics};
use crate::observe::outage::Outage;
use crate::operation::OperationName;
use crate::process::logging::with_causes;
use crate::resilience::breaker::{Breaker, State};
use workforce::Workforce;

use crate::broker::{Broker, BrokerError, BrokerErrorKind, BrokerUrl, Depth, Queue, Role, Shortcoming};

/// How often the broker is sampled. Also how soon a breaker that is open finds a broker that is back.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// How often at most, while requests wait or somebody asks for it. Often enough that what happens between two
/// samples is small beside any budget worth having; five commands this often cost Redis nothing that shows.
const BUSY_INTERVAL: Duration = Duration::from_millis(200);

/// How long the first answer of the broker is awaited before the service says that it is up.
const FIRST_SAMPLE: Duration = Duration::from_secs(2);

/// How often the broker is asked whether it is fit: rights are taken away, and files switched off, by hand.
const FITNESS_INTERVAL: Duration = Duration::from_secs(60);

/// The same, while it is not: whoever mends it waits.
const UNFIT_INTERVAL: Duration = Duration::from_secs(2);

/// The last that was heard of one operation's queue.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sample {
    /// How much was in it.
    pub depth: Depth,
    /// When the broker was asked; `None` before the first time, and while it does not answer.
    pub taken: Option<Instant>,
}

/// The condition of one process.
#[derive(Debug, Clone)]
pub struct Health(Arc<Condition>);

#[derive(Debug)]
struct Condition {
    service: &'static str,
    ready: AtomicBool,
    /// The broker does not let us in: a wrong password, as a rule.
    refused: AtomicBool,
    /// The broker lacks or refuses something, without which nothing can be done.
    unfit: AtomicBool,
    breaker: Arc<Breaker>,
    /// How long the broker took to answer; `None` while it does not.
    response_time: watch::Sender<Option<Duration>>,
    queues: Vec<Watched>,
    hurry: Notify,
    /// Calls that were turned away because the broker did not answer.
    turned_away: AtomicU64,
    metrics: BrokerMetrics,
}

/// The queue of one operation.
#[derive(Debug)]
struct Watched {
    operation: OperationName,
    sample: watch::Sender<Sample>,
    metrics: QueueMetrics,
}

impl Health {
    /// The condition of `service`, which serves these operations; not ready yet.
    #[must_use]
    pub fn new(
        service: &'static str,
        breaker: Arc<Breaker>,
        metrics: &Metrics,
        operations: impl IntoIterator<Item = OperationName>,
    ) -> Self {
        let watched = |operation| Watched {
            operation,
            sample: watch::Sender::default(),
            metrics: QueueMetrics::new(&metrics.of(operation)),
        };
        Self(Arc::new(Condition {
            service,
            ready: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            unfit: AtomicBool::new(false),
            breaker,
            response_time: watch::Sender::default(),
            queues: operations.into_iter().map(watched).collect(),
            hurry: Notify::new(),
            turned_away: AtomicU64::new(0),
            metrics: BrokerMetrics::new(metrics),
        }))
    }

    /// The service's name.
    #[must_use]
    pub fn service(&self) -> &'static str {
        self.0.service
    }

    /// Whether new requests are welcome: after start, until drain. Says nothing about a broker that is away: if every
    /// instance became unready with it, a slow broker would be an outage. One that refuses this instance, or what it
    /// needs, is another matter: that is a mistake in a configuration, and those that it would replace go on serving.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.ready.load(Ordering::Relaxed) && self.broker_is_fit()
    }

    /// Whether the broker lets this service in and do its work, as far as that is known.
    #[must_use]
    pub fn broker_is_fit(&self) -> bool {
        !self.0.refused.load(Ordering::Relaxed) && !self.0.unfit.load(Ordering::Relaxed)
    }

    /// Says whether new requests are welcome.
    pub fn set_ready(&self, ready: bool) {
        self.0.ready.store(ready, Ordering::Relaxed);
    }

    /// Where the breaker around the broker stands.
    #[must_use]
    pub fn circuit(&self) -> State {
        self.0.breaker.state()
    }

    /// How long the broker took to answer the last time; `None` where it did not.
    #[must_use]
    pub fn response_time(&self) -> Option<Duration> {
        *self.0.response_time.borrow()
    }

    /// The last sample of each queue.
    pub fn samples(&self) -> impl Iterator<Item = (OperationName, Sample)> + '_ {
        let queues = self.0.queues.iter();
        queues.map(|queue| (queue.operation, *queue.sample.borrow()))
    }

    /// Each sample of a queue as it comes. While somebody follows and requests wait, they come five times a second.
    ///
    /// # Panics
    /// For an operation that this process does not serve.
    #[must_use]
    pub fn follow(&self, operation: OperationName) -> watch::Receiver<Sample> {
        self.watched(operation).sample.subscribe()
    }

    fn watched(&self, operation: OperationName) -> &Watched {
        let mut queues = self.0.queues.iter();
        queues
            .find(|queue| queue.operation == operation)
            .expect("the operation is served by this process")
    }

    /// Asks for the next sample as soon as one may be taken, for whoever has a reason to expect that requests
    /// wait now. Cheap, and asking often is as good as asking once.
    pub fn sample_soon(&self) {
        self.0.hurry.notify_one();
    }

    /// Counts a call that was turned away because the broker did not answer.
    pub fn count_turned_away(&self) {
        self.0.turned_away.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the broker answered the last time, and knew of no worker for an operation.
    #[must_use]
    pub fn has_no_workers(&self, operation: OperationName) -> bool {
        let sample = *self.watched(operation).sample.borrow();
        sample.taken.is_some() && sample.depth.workers == 0
    }

    /// Says that the service is up, and whether the broker answers; never ends, as what goes on beside it does not.
    pub async fn announce(&self, address: SocketAddr, broker: &BrokerUrl) {
        let (service, mut answers) = (self.0.service, self.0.response_time.subscribe());
        let answered = answers.wait_for(Option::is_some);
        match timeout(FIRST_SAMPLE, answered).await.is_ok() {
            true => {
                let workers = self.samples().map(|(_, sample)| sample.depth.workers).max();
                let workers = workers.unwrap_or_default();
                tracing::info!(%address, %broker, workers, "{service} is up, and its broker answers");
            }
            false => tracing::warn!(%address, %broker, "{service} is up, and its broker does not answer yet"),
        }
        std::future::pending().await
    }

    /// Samples the broker at `address` until `stop`, for a service that does this with it.
    pub async fn watch(self, broker: Arc<dyn Broker>, address: String, role: Role, stop: CancellationToken) {
        let (mut ping, mut fitness) = (Ping::default(), Fitness::default());
        let mut outage = Outage::new(address, role);
        let queues = self.0.queues.iter();
        let mut queues: Vec<_> = queues
            .map(|queue| (broker.queue(queue.operation), queue, Workforce::new(queue.operation)))
            .collect();
        while !stop.is_cancelled() {
            let started = Instant::now();
            // Whoever asked until now is served by this one.
            let _ = self.0.hurry.notified().now_or_never();
            let asked = queues.iter().map(|(queue, ..)| queue.as_ref());
            let depths = self.sample_now(broker.as_ref(), asked, &mut ping, &mut outage).await;
            if depths.is_some() {
                if self.0.refused.swap(false, Ordering::Relaxed) {
                    tracing::info!("the broker lets this service in again");
                }
                self.look_at_fitness(broker.as_ref(), role, &mut fitness).await;
            }
            self.0.metrics.circuit(self.circuit().gauge());
            self.0.metrics.fit(self.broker_is_fit());
            let answers = depths.is_some();
            let mut samples = depths.into_iter().flatten();
            let mut busy = false;
            for (_, queue, workforce) in &mut queues {
                let sample = samples.next().unwrap_or_default();
                if matches!(role, Role::Requester) && sample.taken.is_some() {
                    workforce.look(&sample.depth);
                }
                busy |= sample.depth.waiting > 0 && queue.sample.receiver_count() > 0;
                queue.sample.send_replace(sample);
            }
            self.0.response_time.send_replace(ping.0.map(|(_, took)| took));
            stop.run_until_cancelled(self.pause(started, answers, busy)).await;
        }
    }

    /// What is in each queue; `None` where the broker did not say.
    async fn sample_now(
        &self,
        broker: &dyn Broker,
        queues: impl Iterator<Item = &dyn Queue>,
        ping: &mut Ping,
        outage: &mut Outage,
    ) -> Option<Vec<Sample>> {
        let turned_away = || self.0.turned_away.load(Ordering::Relaxed);
        match self.ask(broker, queues, ping).await {
            Ok(samples) => {
                outage.note_answer(turned_away());
                Some(samples)
            }
            Err(error) => {
                *ping = Ping::default();
                if (error.is_denial() || error.kind() == BrokerErrorKind::Rejected)
                    && !self.0.refused.swap(true, Ordering::Relaxed)
                {
                    let error = with_causes(&error);
                    tracing::error!(
                        error,
                        "the broker refuses this service, which is not ready until that ends: look at the user and password in BROKER_URL"
                    );
                }
                if !self.0.refused.load(Ordering::Relaxed) {
                    outage.note_failure(&error, turned_away());
                }
                None
            }
        }
    }

    async fn ask(
        &self,
        broker: &dyn Broker,
        queues: impl Iterator<Item = &dyn Queue>,
        ping: &mut Ping,
    ) -> Result<Vec<Sample>, BrokerError> {
        if ping.is_due() {
            let took = broker.ping().await?;
            *ping = Ping(Some((Instant::now(), took)));
            self.0.metrics.ping(took);
        }
        let sample = async |queue: &dyn Queue| {
            let taken = Some(Instant::now());
            let depth = queue.depth().await?;
            Ok(Sample { depth, taken })
        };
        let samples: Vec<Sample> = try_join_all(queues.map(sample)).await?;
        for (watched, sample) in self.0.queues.iter().zip(&samples) {
            watched.metrics.depth(&sample.depth);
            self.0.metrics.depth(&sample.depth);
        }
        Ok(samples)
    }

    /// Asks now and then whether there is all that this service needs, and says what is missing, once.
    async fn look_at_fitness(&self, broker: &dyn Broker, role: Role, fitness: &mut Fitness) {
        if !fitness.is_due() {
            return;
        }
        let missing = match broker.shortcomings(role).await {
            Ok(missing) => missing,
            Err(error) => {
                tracing::debug!(
                    error = with_causes(&error),
                    "the broker was not asked whether it is fit"
                );
                return;
            }
        };
        let fit = !missing.iter().any(|one| one.is_fatal);
        self.0.unfit.store(!fit, Ordering::Relaxed);
        if fitness.is_news(&missing) {
            for Shortcoming { what, is_fatal } in &missing {
                match is_fatal {
                    true => tracing::error!(
                        what,
                        "the broker is not fit for this service, which is not ready until that ends"
                    ),
                    false => tracing::warn!(
                        what,
                        "the broker lacks something that this service does less well without"
                    ),
                }
            }
            if fit && missing.is_empty() {
                tracing::info!("the broker is fit for this service again");
            }
        }
        fitness.seen(missing, fit);
    }

    /// Waits for the time of the next sample.
    async fn pause(&self, started: Instant, answers: bool, busy: bool) {
        let early = async {
            if !busy {
                self.0.hurry.notified().await;
            }
            sleep_until(started + BUSY_INTERVAL).await;
        };
        let late = sleep_until(started + SAMPLE_INTERVAL);
        match answers {
            true => tokio::select! { () = early => {} () = late => {} },
            // Nobody's hurry brings a broker back.
            false => late.await,
        }
    }
}

/// What was missing when the broker was last asked, and when it is asked again.
#[derive(Debug, Default)]
struct Fitness {
    next: Option<Instant>,
    missing: Vec<Shortcoming>,
}

impl Fitness {
    fn is_due(&self) -> bool {
        self.next.is_none_or(|next| next <= Instant::now())
    }

    fn is_news(&self, missing: &[Shortcoming]) -> bool {
        self.missing != missing
    }

    fn seen(&mut self, missing: Vec<Shortcoming>, fit: bool) {
        self.next = Some(Instant::now() + if fit { FITNESS_INTERVAL } else { UNFIT_INTERVAL });
        self.missing = missing;
    }
}

/// When the broker last answered a ping, and how long it took.
#[derive(Debug, Default)]
struct Ping(Option<(Instant, Duration)>);

impl Ping {
    fn is_due(&self) -> bool {
        // Half an interval early: its time is not to slip from one sample to the next.
        self.0
            .is_none_or(|(when, _)| when.elapsed() + BUSY_INTERVAL / 2 >= SAMPLE_INTERVAL)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
