//! An ingress between its door and its broker: the requester, the loops that serve it, and the order in which they stop.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures_util::future::join_all;
use proxy_service::OPERATION;
use proxy_service::pool::Running;
use roundtrip::batch::Batcher;
use roundtrip::broker::{Backend, Durability, ResultStore, Role};
use roundtrip::http::middleware;
use roundtrip::http::openapi as documents;
use roundtrip::http::probes::Admin;
use roundtrip::observe::health::Health;
use roundtrip::observe::metrics::{BrokerMetrics, HttpMetrics, Metrics};
use roundtrip::process::listener;
use roundtrip::process::shutdown::spawn_essential;
use roundtrip::process::task::spawn;
use roundtrip::resilience::circuit_broker::CircuitBroker;
use roundtrip::{Broker, ReplyTo, Request, batch};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::admission::{self, Admission};
use crate::config::{Config, OnDisconnect};
use crate::disconnects::Disconnect;
use crate::json_body::Bodies;
use crate::metrics::IngressMetrics;
use crate::pending::Pending;
use crate::publisher::recorded::Application;
use crate::publisher::{plain, recorded};
use crate::requester::{Requester, Times};
use crate::routes::weather::WeatherState;
use crate::wait_limits::WaitLimits;
use crate::watches::{self, Watches};
use crate::{disconnects, embedded, heartbeat, replies, result_writer, router};

/// How long before connections are cut off those who still wait are promised their results.
const LAST_CALL: Duration = Duration::from_secs(4);

/// After that, a write that replicas did not confirm was taken back.
const PROBATION: Duration = Duration::from_millis(1500);

/// How long background loops may take to end after the last caller was answered.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// An ingress that works, behind whatever door is put before [`Exchange::app`]. ResultWriter with [`Exchange::drain`].
#[derive(Debug)]
pub struct Exchange {
    broker: Arc<CircuitBroker<dyn Broker>>,
    records: Arc<dyn ResultStore>,
    metrics: Metrics,
    http: HttpMetrics,
    health: Health,
    pending: Arc<Pending>,
    /// With it goes the last sender of those loops that end by themselves.
    app: Router,
    loops: Loops,
    workers: Option<Running>,
    shutdown_delay: Duration,
    drain_timeout: Duration,
}

/// The loops of an exchange, and what ends them.
#[derive(Debug, Default)]
struct Loops {
    /// Cancelled when one ends without which nothing works.
    ended: CancellationToken,
    stop_serving: CancellationToken,
    last_call: CancellationToken,
    stop_attending: CancellationToken,
    stop_replies: CancellationToken,
    stop_watching: CancellationToken,
    /// These end with their last sender.
    senders: Vec<JoinHandle<()>>,
    attending: Option<JoinHandle<()>>,
    reading: Option<JoinHandle<()>>,
    watching: Vec<JoinHandle<()>>,
}

impl Exchange {
    /// Starts everything but the door.
    #[must_use]
    pub fn start(config: &Config, backend: Backend) -> Self {
        let broker = Arc::new(CircuitBroker::new(backend.broker));
        let records: Arc<dyn ResultStore> = Arc::new(broker.beside(backend.records));
        let metrics = Metrics::new(OPERATION);
        let ingress_metrics = IngressMetrics::new(&metrics);
        let health = Health::new("ingress-service", broker.breaker(), BrokerMetrics::new(&metrics));
        let pending = Pending::new(config.max_in_flight as usize, ingress_metrics.pending.clone());
        let mut loops = Loops::default();
        let parts = Parts {
            config,
            broker: &broker,
            records: &records,
            metrics: &ingress_metrics,
            health: &health,
            pending: &pending,
        };
        let requester = parts.connect(&mut loops);
        let state = WeatherState {
            requester,
            health: health.clone(),
            bodies: Bodies::new(config.max_body, config.max_body_memory, &ingress_metrics),
        };
        let in_flight = pending.clone();
        let admin = Admin {
            health: health.clone(),
            metrics: metrics.clone(),
            pending: Arc::new(move || in_flight.len()),
        };
        let http = HttpMetrics::new(&metrics);
        let mut routes = router::router(state, admin);
        // Where workers are apart, letters are looked after at their side.
        if let Some(token) = config.admin_token.clone().filter(|_| config.broker_url.is_memory()) {
            routes = proxy_service::dead_letters::enable(routes, token, backend.dead_letters, &metrics);
        }
        let (routes, _) = documents::serve(routes);
        Self {
            app: middleware::every_call(routes, http.clone(), health.clone()),
            broker,
            records,
            metrics,
            http,
            health,
            pending,
            loops,
            workers: None,
            shutdown_delay: config.shutdown_delay,
            drain_timeout: config.drain_timeout,
        }
    }

    /// Starts workers in this process, for a broker that nobody else can reach.
    ///
    /// # Errors
    /// When what they work with cannot be built.
    pub fn work_inside(&mut self, config: &Config) -> Result<(), Box<dyn Error + Send + Sync>> {
        let (broker, records) = (self.broker.clone(), self.records.clone());
        let workers = embedded::start(config, broker, records, &self.metrics, &self.loops.ended)?;
        self.workers = Some(workers);
        Ok(())
    }

    /// Answers every call of the ingress.
    pub fn app(&self) -> Router {
        self.app.clone()
    }

    /// What is counted of calls.
    #[must_use]
    pub fn http(&self) -> HttpMetrics {
        self.http.clone()
    }

    /// Cancelled when the door is to close.
    #[must_use]
    pub fn stop_serving(&self) -> CancellationToken {
        self.loops.stop_serving.clone()
    }

    /// Cancelled when a loop has ended without which nothing works.
    #[must_use]
    pub fn ended(&self) -> &CancellationToken {
        &self.loops.ended
    }

    /// How many requests are in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.pending.len()
    }

    /// The condition of this process.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Says that calls are welcome.
    pub fn set_ready(&self) {
        self.health.set_ready(true);
    }

    /// Closes the door, answers who is inside, and stops. `serving` ends when the last connection is closed, at the
    /// latest DRAIN_TIMEOUT after [`Exchange::stop_serving`].
    pub async fn drain(self, serving: impl Future) {
        self.health.set_ready(false);
        sleep(self.shutdown_delay).await;
        self.loops.stop_serving.cancel();
        // Whoever has not heard by then is told where to ask, while there is time for it.
        let leave_in = self.drain_timeout - LAST_CALL.min(self.drain_timeout / 4);
        let (last_call, pending) = (self.loops.last_call.clone(), self.pending);
        let calling = spawn(async move {
            sleep(leave_in).await;
            last_call.cancel();
            pending.last_call();
        });
        let _ = serving.await;
        calling.abort();
        if let Some(workers) = self.workers {
            workers.drain(STOP_TIMEOUT).await;
        }
        drop(self.app);
        self.loops.stop().await;
    }
}

impl Loops {
    /// Stops them in the order in which they need each other.
    async fn stop(self) {
        // The last caller took the last sender along: these end by themselves.
        let _ = timeout(STOP_TIMEOUT, join_all(self.senders)).await;
        // Attending ends before the reply stream is removed for good.
        for (stop, ending) in [
            (&self.stop_attending, self.attending),
            (&self.stop_replies, self.reading),
        ] {
            stop.cancel();
            if let Some(ending) = ending {
                let _ = timeout(STOP_TIMEOUT, ending).await;
            }
        }
        self.stop_watching.cancel();
        for ending in self.watching {
            let _ = ending.await;
        }
    }
}

/// What the loops share.
struct Parts<'a> {
    config: &'a Config,
    broker: &'a Arc<CircuitBroker<dyn Broker>>,
    records: &'a Arc<dyn ResultStore>,
    metrics: &'a IngressMetrics,
    health: &'a Health,
    pending: &'a Arc<Pending>,
}

impl Parts<'_> {
    /// Starts the loops around a requester.
    fn connect(self, loops: &mut Loops) -> Arc<Requester> {
        let Self { config, metrics, .. } = self;
        let admission = Arc::new(Admission::new(config.limits(), self.health.clone()));
        let reply_to = ReplyTo::unique(&roundtrip::process::hostname());
        let watches = Watches::new(self.records.clone());
        self.receive(loops, &reply_to);
        let senders = self.send(loops);
        self.watch(loops, &admission, &watches);
        Arc::new(Requester {
            reply_to,
            admission,
            pending: self.pending.clone(),
            publisher: senders.publisher,
            acceptor: senders.acceptor,
            records: self.records.clone(),
            watches,
            wait_limits: WaitLimits::new(config.max_followers, config.max_event_streams, metrics),
            disconnects: senders.disconnects,
            ends: senders.ends,
            times: Times {
                request: config.request_timeout,
                job: config.job_timeout,
            },
            draining: loops.stop_serving.clone(),
            last_call: loops.last_call.clone(),
            probation: match config.durability() {
                Durability::Replicated(_) => PROBATION,
                Durability::Volatile | Durability::Aof => Duration::ZERO,
            },
            metrics: metrics.clone(),
        })
    }

    /// Reads replies, and says that somebody does.
    fn receive(&self, loops: &mut Loops, reply_to: &ReplyTo) {
        let reading = replies::run(
            self.broker.replies(reply_to),
            self.records.clone(),
            self.pending.clone(),
            self.metrics.clone(),
            loops.stop_replies.clone(),
        );
        loops.reading = Some(spawn_essential(&loops.ended, reading));
        let attending = heartbeat::run(
            self.broker.clone(),
            reply_to.clone(),
            self.metrics.clone(),
            loops.stop_attending.clone(),
        );
        loops.attending = Some(spawn_essential(&loops.ended, attending));
    }

    /// Starts what moves to the broker.
    fn send(&self, loops: &mut Loops) -> Senders {
        // A place for each request that can be admitted: one waits only behind those whose callers have gone.
        let places = self.config.max_in_flight as usize;
        let (publisher, batches) = batch::channel(places, plain::MAX_BATCH);
        let (acceptor, applications) = batch::channel(places, recorded::MAX_BATCH);
        let (disconnects, hung_up) = disconnects::channel();
        let disconnects = (self.config.on_disconnect == OnDisconnect::Cancel).then_some(disconnects);
        let (ends, ended) = result_writer::ResultWriter::channel();
        let (broker, pending, metrics) = (self.broker.clone(), self.pending.clone(), self.metrics.clone());
        let publishing = plain::run(broker, pending, batches, disconnects.clone(), metrics);
        let accepting = recorded::run(self.records.clone(), applications);
        loops.senders = vec![
            spawn_essential(&loops.ended, publishing),
            spawn_essential(&loops.ended, accepting),
            // Without a sender it ends at once, and that is no reason to leave.
            spawn(disconnects::run(self.records.clone(), hung_up, self.metrics.clone())),
            spawn(result_writer::run(self.records.clone(), ended)),
        ];
        Senders {
            publisher,
            acceptor,
            disconnects,
            ends,
        }
    }

    /// Watches records, and how much waits.
    fn watch(&self, loops: &mut Loops, admission: &Arc<Admission>, watches: &Arc<Watches>) {
        let stop = &loops.stop_watching;
        let listening = listener::listen(self.records.clone(), watches.clone(), watches::FALLBACK, stop.clone());
        let following = admission::follow(
            admission.clone(),
            self.pending.clone(),
            self.health.follow(),
            self.metrics.clone(),
            stop.clone(),
        );
        let health = self.health.clone();
        let sampling = health.watch(
            self.broker.clone(),
            self.config.broker_url.to_string(),
            Role::Requester,
            stop.clone(),
        );
        loops.watching = vec![
            spawn(sampling),
            spawn(following),
            spawn_essential(&loops.ended, listening),
        ];
    }
}

/// Ways to the loops that move to the broker.
struct Senders {
    publisher: Batcher<Request>,
    acceptor: Batcher<Application>,
    disconnects: Option<mpsc::Sender<Disconnect>>,
    ends: result_writer::ResultWriter,
}
