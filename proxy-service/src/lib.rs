//! WorkerPool of Roundtrip: claim requests from the stream, do the work behind a resilience stack, settle.
//! The flow of one delivery reads top down: [`worker`](self) claims, `judge` decides, the [`stack`] works,
//! `settler` answers.

pub mod config;
pub mod dead_letters;
pub mod failure;
pub mod handler;
pub mod metrics;
pub mod operations;
pub mod pool;
pub mod progress;
pub mod router;
pub mod stack;

mod cancellation;
mod claimer;
mod executor;
mod in_flight;
mod lease;
mod maintenance;
mod redelivery;
mod settler;
mod spans;
mod terminals;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use roundtrip::broker::{self, BrokerOptions, Durability, Retention, Role};
use roundtrip::http::probes::Admin;
use roundtrip::http::{middleware, openapi, server};
use roundtrip::observe::health::Health;
use roundtrip::observe::metrics::{BrokerMetrics, HttpMetrics, Metrics};
use roundtrip::process::shutdown::{LoopEnded, spawn_essential};
use roundtrip::resilience::circuit_broker::CircuitBroker;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use config::Config;
use handler::Handler;
use metrics::WorkerMetrics;
use operations::weather::handler::WeatherHandler;
use pool::WorkerPool;
use router::ProxyState;

/// The operation of this service; the streams are named after it.
pub const OPERATION: &str = "weather";

/// How long operators who ask during the drain may take to read their answers.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Runs the proxy until `stop`, then drains it.
///
/// # Errors
/// When it cannot start: the address is taken, or the provider cannot be built. When a loop it needs ended.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), Box<dyn Error + Send + Sync>> {
    let handler = WeatherHandler::new(config.weather.provider()?);
    run_with(handler, config, stop).await
}

/// The same with another handler: one that counts, or misbehaves on purpose.
///
/// # Errors
/// As [`run`].
pub async fn run_with(
    handler: impl Handler,
    config: Config,
    stop: CancellationToken,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let listener = server::bind(config.listen_addr)?;
    let address = listener.local_addr()?;
    let options = BrokerOptions {
        operation: OPERATION,
        lease: config.worker.lease,
        // It publishes nothing.
        durability: Durability::Volatile,
        // Each record says for itself how long it is kept.
        retention: Retention::default(),
    };
    let backend = broker::connect(&config.broker_url, options);
    let broker = Arc::new(CircuitBroker::new(backend.broker));
    let records = Arc::new(broker.beside(backend.records));
    let metrics = Metrics::new(OPERATION);
    let worker_metrics = WorkerMetrics::new(&metrics);
    let health = Health::new("proxy-service", broker.breaker(), BrokerMetrics::new(&metrics));

    let workers = WorkerPool::new(handler, &config.worker, worker_metrics.clone());
    let ended = CancellationToken::new();
    let running = workers.start(broker.clone(), records, &config.worker, &worker_metrics, &ended);

    let settlement_refused = workers.settlement_refused();
    let http = HttpMetrics::new(&metrics);
    let state = ProxyState {
        workers: workers.clone(),
        provider: config.weather.weather_provider,
    };
    let admin = Admin {
        health: health.clone(),
        metrics: metrics.clone(),
        pending: Arc::new(move || workers.occupancy().0),
    };
    let mut routes = router::router(state, admin);
    if let Some(token) = config.admin_token {
        routes = dead_letters::enable(routes, token, backend.dead_letters, &metrics);
    }
    let (routes, _) = openapi::serve(routes);
    let app = middleware::every_call(routes, http.clone(), health.clone());

    // Health and metrics are served until the work is done: a drain is worth watching.
    let stop_serving = CancellationToken::new();
    let limits = config.connections.limits();
    let serving = server::serve(listener, app, limits, http, stop_serving.clone(), LAST_ANSWERS);
    let serving = spawn_essential(&ended, serving);
    let (watched, address_of_broker) = (broker.clone(), config.broker_url.to_string());
    let watching = health
        .clone()
        .watch(watched, address_of_broker, Role::Worker, stop_serving.clone());
    let watching = tokio::spawn(watching);

    tokio::select! {
        () = stop.cancelled() => {}
        () = ended.cancelled() => {}
        () = be_ready(&health, settlement_refused) => {}
        () = health.announce(address, &config.broker_url) => {}
    }
    health.set_ready(false);
    running.drain(config.drain_timeout).await;
    stop_serving.cancel();
    let _ = serving.await;
    let _ = watching.await;
    tracing::info!("proxy-service has stopped");
    if stop.is_cancelled() {
        Ok(())
    } else {
        Err(LoopEnded.into())
    }
}

/// Ready, unless settlements are refused: one that replaces an old worker would be no better.
async fn be_ready(health: &Health, mut settlement_refused: watch::Receiver<bool>) {
    loop {
        health.set_ready(!*settlement_refused.borrow_and_update());
        if settlement_refused.changed().await.is_err() {
            // Its sender is gone with the workers, which a drain asks for first.
            std::future::pending().await
        }
    }
}
