//! One instance in a place: an ingress or a worker as shipped, with a way to the broker of its own.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use clap::Parser as _;
use ingress_service::config::Config;
use ingress_service::exchange::Exchange;
use proxy_service::config::WorkerOptions;
use proxy_service::operations::weather::simulated::Simulated;
use proxy_service::operations::weather::work::Weather as WeatherWork;
use proxy_service::operations::{Operations, Policy, erased};
use proxy_service::pool::{Running, WorkerPool};
use roundtrip::OperationName;
use roundtrip::observe::metrics::Metrics;
use roundtrip::process::task::Condition;
use roundtrip::resilience::circuit_broker::CircuitBroker;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::link::Link;
use crate::plan::Settings;
use crate::upstream::{Upstream, Worker};

/// An ingress and its door.
#[derive(Debug)]
pub(crate) struct Ingress {
    pub(crate) link: Link,
    /// `None` once the door is closed: what holds it holds those who serve it.
    app: Arc<Mutex<Option<Router>>>,
    /// Calls that are inside.
    pub(crate) inside: TaskTracker,
    /// Cancelled when the door is closed.
    pub(crate) closing: CancellationToken,
    /// Cancelled when whoever is still inside is cut off.
    pub(crate) cut_off: CancellationToken,
    ended: CancellationToken,
    pub(crate) drain_timeout: Duration,
    exchange: Option<Exchange>,
}

/// A worker.
#[derive(Debug)]
pub(crate) struct Labour {
    pub(crate) link: Link,
    pub(crate) workers: WorkerPool,
    pub(crate) active: Arc<AtomicUsize>,
    ended: CancellationToken,
    /// Whether it was asked to leave.
    pub(crate) leaves: bool,
    running: Option<Running>,
}

impl Ingress {
    pub(crate) fn start(link: Link, settings: &Settings) -> Self {
        let config = config(settings);
        let exchange = link
            .instance
            .enter(|| Exchange::start(&config, link.backend(), &ingress_service::operations()));
        exchange.set_ready();
        Self {
            link,
            app: Arc::new(Mutex::new(Some(exchange.app()))),
            inside: TaskTracker::new(),
            closing: exchange.stop_serving(),
            cut_off: CancellationToken::new(),
            ended: exchange.ended().clone(),
            drain_timeout: settings.drain_timeout,
            exchange: Some(exchange),
        }
    }

    /// How many requests are in flight in it.
    pub(crate) fn in_flight(&self) -> usize {
        self.exchange.as_ref().map_or(0, Exchange::in_flight)
    }

    /// What answers calls, while its door is open for new ones.
    pub(crate) fn app(&self) -> Option<Router> {
        let is_open = self.link.instance.condition() != Condition::Dead && !self.closing.is_cancelled();
        let app = self.app.lock().expect("nothing panics with the door");
        app.clone().filter(|_| is_open)
    }

    /// Whether a loop ended without which it does not work, and nobody asked it to leave.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.is_cancelled() && self.exchange.is_some()
    }

    /// Lets it drain, as after SIGTERM; the task ends with it.
    pub(crate) fn leave(&mut self) -> Option<JoinHandle<()>> {
        let exchange = self.exchange.take()?;
        let app = self.app.clone();
        let (inside, closing, cut_off) = (self.inside.clone(), self.closing.clone(), self.cut_off.clone());
        let drain_timeout = self.drain_timeout;
        let serving = async move {
            closing.cancelled().await;
            app.lock().expect("nothing panics with the door").take();
            inside.close();
            let _ = timeout(drain_timeout, inside.wait()).await;
            cut_off.cancel();
        };
        Some(tokio::spawn(self.link.instance.run(exchange.drain(serving))))
    }
}

impl Labour {
    pub(crate) fn start(link: Link, settings: &Settings, upstream: &Arc<Upstream>) -> Self {
        let (active, ended) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
        let options = worker_options(settings);
        let (workers, running) = link.instance.enter(|| {
            let handler = Worker {
                upstream: upstream.clone(),
                instance: link.instance.clone(),
                weather: erased(WeatherWork::new(Arc::new(Simulated::new(
                    "0ms".parse().expect("a latency, as on the command line"),
                )))),
                active: active.clone(),
            };
            let backend = link.backend();
            let broker = Arc::new(CircuitBroker::new(backend.broker));
            let records = Arc::new(broker.beside(backend.records));
            let operations = Operations::new().with_handler(OperationName::first(), handler, Policy::default());
            let workers = WorkerPool::new(&operations, &options, &Metrics::new());
            let running = workers.start(broker, records, &options, &ended);
            (workers, running)
        });
        Self {
            link,
            workers,
            active,
            ended,
            leaves: false,
            running: Some(running),
        }
    }

    /// Whether a loop ended without which it does not work, and nobody asked it to leave.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.is_cancelled() && self.running.is_some()
    }

    /// Lets it drain, as after SIGTERM; the task ends with it.
    pub(crate) fn leave(&mut self, grace: Duration) -> Option<JoinHandle<()>> {
        let running = self.running.take()?;
        self.leaves = true;
        Some(tokio::spawn(self.link.instance.run(running.drain(grace))))
    }
}

fn config(settings: &Settings) -> Config {
    let mut config = Config::parse_from(["ingress-service"]);
    config.request_timeout = settings.request_timeout;
    config.job_timeout = settings.job_timeout;
    config.max_in_flight = settings.max_in_flight;
    config.max_followers = settings.max_followers;
    config.drain_timeout = settings.drain_timeout;
    config.shutdown_delay = settings.shutdown_delay;
    config.memory_limit = settings.memory_limit;
    config.worker = worker_options(settings);
    config.on_disconnect = match settings.cancels {
        true => ingress_service::config::OnDisconnect::Cancel,
        false => ingress_service::config::OnDisconnect::Finish,
    };
    config
}

fn worker_options(settings: &Settings) -> WorkerOptions {
    WorkerOptions {
        terminals: settings.terminals,
        lease: settings.lease,
        lease_renewal: None,
        max_deliveries: settings.max_deliveries,
        attempt_timeout: settings.attempt_timeout,
        cancel_grace: Duration::from_millis(300),
    }
}
