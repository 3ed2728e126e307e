//! An ingress between its door and its broker: the operations, the loops that serve them, and the order in which they
//! stop.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures_util::future::join_all;
use proxy_service::pool::{Running, WorkerPool};
use roundtrip::batch::{self, Batcher};
use roundtrip::broker::{Backend, DeadLetters, Durability, ResultStore, Role};
use roundtrip::http::probes::Admin;
use roundtrip::http::{middleware, openapi as documents};
use roundtrip::observe::health::Health;
use roundtrip::observe::metrics::{HttpMetrics, Metrics};
use roundtrip::process::shutdown::spawn_essential;
use roundtrip::process::task::spawn;
use roundtrip::process::{hostname, listener};
use roundtrip::resilience::circuit_broker::CircuitBroker;
use roundtrip::{Broker, ReplyTo, Request};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;

use crate::admission::{self, Admission, EVENT_STREAMS};
use crate::body_memory::BodyMemory;
use crate::config::{Config, OnDisconnect};
use crate::disconnects::{self, Disconnect};
use crate::json_body::Bodies;
use crate::metrics::{IngressMetrics, OperationMetrics};
use crate::operations::{Calls, Operations};
use crate::pending::Pending;
use crate::publisher::recorded::Application;
use crate::publisher::{plain, recorded};
use crate::requester::Requester;
use crate::result_writer::{self, ResultWriter};
use crate::transport::{Times, Transport};
use crate::wait_limits::WaitLimits;
use crate::watches::{self, Watches};
use crate::{heartbeat, replies, router};

/// How long before connections are cut off those who still wait are promised their results.
const LAST_CALL: Duration = Duration::from_secs(4);

/// After that, a write that replicas did not confirm was taken back.
const PROBATION: Duration = Duration::from_millis(1500);

/// How long background loops may take to end after the last caller was answered.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// An ingress that works, behind whatever door is put before [`Exchange::app`]. Ends with [`Exchange::drain`].
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
    stop_heartbeat: CancellationToken,
    stop_replies: CancellationToken,
    stop_watching: CancellationToken,
    /// These end with their last sender.
    senders: Vec<JoinHandle<()>>,
    heartbeat: Option<JoinHandle<()>>,
    reading: Option<JoinHandle<()>>,
    watching: Vec<JoinHandle<()>>,
}

impl Exchange {
    /// Starts everything but the door.
    #[must_use]
    pub fn start(config: &Config, backend: Backend, operations: &Operations) -> Self {
        let broker = Arc::new(CircuitBroker::new(backend.broker));
        let records: Arc<dyn ResultStore> = Arc::new(broker.beside(backend.records));
        let (metrics, mut loops) = (Metrics::new(), Loops::default());
        let parts = Parts {
            config,
            broker: &broker,
            records: &records,
            health: &Health::new("ingress-service", broker.breaker(), &metrics, operations.names()),
            metrics: &IngressMetrics::new(&metrics),
            registry: &metrics,
        };
        let offered = parts.offer(operations);
        let transport = parts.connect(&mut loops, offered.first().map(|(_, metrics)| metrics));
        let memory = BodyMemory::new(config.max_body_memory, parts.metrics.body_bytes.clone());
        let routes = operations.iter().zip(offered).map(|(offer, (admission, metrics))| {
            parts.follow(&mut loops, &transport, &admission, metrics.clone());
            (offer.routes)(Calls {
                bodies: Bodies::new(config.max_body, memory.clone(), &metrics),
                requester: Arc::new(Requester {
                    operation: offer.name,
                    transport: transport.clone(),
                    admission,
                    metrics,
                }),
                health: parts.health.clone(),
            })
        });
        let routes: Vec<_> = routes.collect();
        let http = HttpMetrics::new(&metrics);
        let app = parts.app(&transport, routes, backend.dead_letters, http.clone());
        Self {
            app,
            health: parts.health.clone(),
            pending: transport.pending.clone(),
            http,
            broker,
            records,
            metrics,
            loops,
            workers: None,
            shutdown_delay: config.shutdown_delay,
            drain_timeout: config.drain_timeout,
        }
    }

    /// Starts workers in this process, for a broker that nobody else can reach.
    pub fn work_inside(&mut self, operations: &proxy_service::operations::Operations, config: &Config) {
        let pool = WorkerPool::new(operations, &config.worker, &self.metrics);
        let (broker, records) = (self.broker.clone(), self.records.clone());
        self.workers = Some(pool.start(broker, records, &config.worker, &self.loops.ended));
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
        // The heartbeat ends before the reply stream is removed for good.
        for (stop, ending) in [
            (&self.stop_heartbeat, self.heartbeat),
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

/// What the loops are made of.
struct Parts<'a> {
    config: &'a Config,
    broker: &'a Arc<CircuitBroker<dyn Broker>>,
    records: &'a Arc<dyn ResultStore>,
    health: &'a Health,
    metrics: &'a IngressMetrics,
    registry: &'a Metrics,
}

impl Parts<'_> {
    /// What each operation has of its own.
    fn offer(&self, operations: &Operations) -> Vec<(Arc<Admission>, OperationMetrics)> {
        let own = |name| {
            let admission = Admission::new(name, self.config.limits(), self.health.clone());
            (Arc::new(admission), OperationMetrics::new(&self.registry.of(name)))
        };
        operations.names().map(own).collect()
    }

    /// Starts the loops that all operations share.
    fn connect(&self, loops: &mut Loops, first: Option<&OperationMetrics>) -> Arc<Transport> {
        let Self { config, metrics, .. } = *self;
        let reply_to = ReplyTo::unique(&hostname());
        let pending = Pending::new(config.max_in_flight as usize, metrics.pending.clone());
        let watches = Watches::new(self.records.clone());
        self.receive(loops, &reply_to, &pending);
        let senders = self.send(loops, &pending);
        self.watch(loops, &watches);
        Arc::new(Transport {
            reply_to,
            pending,
            publisher: senders.publisher,
            recorder: senders.recorder,
            records: self.records.clone(),
            watches,
            wait_limits: WaitLimits::new(config.max_followers, config.max_event_streams, metrics),
            refused_streams: first.map(|metrics| metrics.refused.with_label_values(&[EVENT_STREAMS])),
            disconnects: senders.disconnects,
            results: senders.results,
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
    fn receive(&self, loops: &mut Loops, reply_to: &ReplyTo, pending: &Arc<Pending>) {
        let reading = replies::run(
            self.broker.replies(reply_to),
            self.records.clone(),
            pending.clone(),
            self.metrics.clone(),
            loops.stop_replies.clone(),
        );
        loops.reading = Some(spawn_essential(&loops.ended, reading));
        let beating = heartbeat::run(
            self.broker.clone(),
            reply_to.clone(),
            self.metrics.clone(),
            loops.stop_heartbeat.clone(),
        );
        loops.heartbeat = Some(spawn_essential(&loops.ended, beating));
    }

    /// Starts what moves to the broker.
    fn send(&self, loops: &mut Loops, pending: &Arc<Pending>) -> Senders {
        // A place for each request that can be admitted: one waits only behind those whose callers have gone.
        let places = self.config.max_in_flight as usize;
        let (publisher, batches) = batch::channel(places, plain::MAX_BATCH);
        let (recorder, applications) = batch::channel(places, recorded::MAX_BATCH);
        let (disconnects, disconnected) = disconnects::channel();
        let disconnects = (self.config.on_disconnect == OnDisconnect::Cancel).then_some(disconnects);
        let (results, ended) = ResultWriter::channel();
        let (broker, pending, metrics) = (self.broker.clone(), pending.clone(), self.metrics.clone());
        let publishing = plain::run(broker, pending, batches, disconnects.clone(), metrics);
        let recording = recorded::run(self.records.clone(), applications);
        loops.senders = vec![
            spawn_essential(&loops.ended, publishing),
            spawn_essential(&loops.ended, recording),
            // Without a sender it ends at once, and that is no reason to leave.
            spawn(disconnects::run(
                self.records.clone(),
                disconnected,
                self.metrics.clone(),
            )),
            spawn(result_writer::run(self.records.clone(), ended)),
        ];
        Senders {
            publisher,
            recorder,
            disconnects,
            results,
        }
    }

    /// Watches records, and how much waits.
    fn watch(&self, loops: &mut Loops, watches: &Arc<Watches>) {
        let stop = &loops.stop_watching;
        let listening = listener::listen(self.records.clone(), watches.clone(), watches::FALLBACK, stop.clone());
        let (broker, address) = (self.broker.clone(), self.config.broker_url.to_string());
        let sampling = self
            .health
            .clone()
            .watch(broker, address, Role::Requester, stop.clone());
        loops.watching = vec![spawn(sampling), spawn_essential(&loops.ended, listening)];
    }

    /// Lets an operation's admission learn from what waits.
    fn follow(&self, loops: &mut Loops, transport: &Transport, admission: &Arc<Admission>, metrics: OperationMetrics) {
        let following = admission::follow(
            admission.clone(),
            transport.pending.clone(),
            self.health.follow(admission.operation()),
            metrics,
            loops.stop_watching.clone(),
        );
        loops.watching.push(spawn(following));
    }

    /// Answers every call of the ingress.
    fn app(
        &self,
        transport: &Arc<Transport>,
        operations: Vec<OpenApiRouter>,
        letters: Arc<dyn DeadLetters>,
        http: HttpMetrics,
    ) -> Router {
        let in_flight = transport.pending.clone();
        let admin = Admin {
            health: self.health.clone(),
            metrics: self.registry.clone(),
            pending: Arc::new(move || in_flight.len()),
        };
        let mut routes = router::router(transport.clone(), operations.into_iter(), admin);
        // Where workers are apart, letters are looked after at their side.
        if let Some(token) = self
            .config
            .admin_token
            .clone()
            .filter(|_| self.config.broker_url.is_memory())
        {
            routes = proxy_service::dead_letters::enable(routes, token, letters, self.registry);
        }
        let (routes, _) = documents::serve(routes);
        middleware::every_call(routes, http, self.health.clone())
    }
}

/// Ways to the loops that move to the broker.
struct Senders {
    publisher: Batcher<Request>,
    recorder: Batcher<Application>,
    disconnects: Option<mpsc::Sender<Disconnect>>,
    results: ResultWriter,
}
