//! Workers of Roundtrip: claim requests from the stream, do the work behind a resilience stack, settle.
//! The flow of one delivery reads top down: `claimer` claims, `terminals` has a place for it, `executor` decides, the
//! [`stack`] works on one of the [`mod@operations`], `settler` answers. [`pool`] is all of it together.

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
pub mod station;

mod cancellation;
mod claimer;
mod executor;
mod in_flight;
mod lease;
mod maintenance;
mod redelivery;
mod served;
mod settler;
mod spans;
mod terminals;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use roundtrip::broker::{self, Backend, BrokerOptions, DeadLetters, Durability, Retention, Role};
use roundtrip::http::probes::Admin;
use roundtrip::http::{middleware, openapi, server};
use roundtrip::observe::health::Health;
use roundtrip::observe::metrics::{HttpMetrics, Metrics};
use roundtrip::process::shutdown::{LoopEnded, spawn_essential};
use roundtrip::resilience::circuit_broker::CircuitBroker;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use config::Config;
use operations::Operations;
use operations::weather::{self, options::WeatherOptions, work::Weather};
use pool::WorkerPool;

/// How long operators who ask during the drain may take to read their answers.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// The operations of this service.
///
/// # Errors
/// When what one of them works with cannot be built.
pub fn operations(weather: &WeatherOptions) -> Result<Operations, Box<dyn Error + Send + Sync>> {
    let provider = weather.weather_provider;
    Ok(Operations::new()
        .with(Weather::new(weather.provider()?))
        .with_routes(move |stations| weather::routes::routes(stations, provider)))
}

/// Runs the proxy until `stop`, then drains it.
///
/// # Errors
/// When it cannot start: the address is taken, or the provider cannot be built. When a loop it needs ended.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), Box<dyn Error + Send + Sync>> {
    run_with(operations(&config.weather)?, config, stop).await
}

/// The same with other operations.
///
/// # Errors
/// As [`run`].
pub async fn run_with(
    operations: Operations,
    config: Config,
    stop: CancellationToken,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let listener = server::bind(config.listen_addr)?;
    let address = listener.local_addr()?;
    let backend = connect(&config);
    let broker = Arc::new(CircuitBroker::new(backend.broker));
    let records = Arc::new(broker.beside(backend.records));
    let metrics = Metrics::new();
    let health = Health::new("proxy-service", broker.breaker(), &metrics, operations.names());
    let pool = WorkerPool::new(&operations, &config.worker, &metrics);
    let ended = CancellationToken::new();
    let running = pool.start(broker.clone(), records, &config.worker, &ended);

    // Health and metrics are served until the work is done: a drain is worth watching.
    let (stop_serving, http) = (CancellationToken::new(), HttpMetrics::new(&metrics));
    let app = app(
        &operations,
        &config,
        &pool,
        backend.dead_letters,
        &health,
        metrics,
        &http,
    );
    let limits = config.connections.limits();
    let serving = server::serve(listener, app, limits, http, stop_serving.clone(), LAST_ANSWERS);
    let serving = spawn_essential(&ended, serving);
    let watching = health.clone().watch(
        broker,
        config.broker_url.to_string(),
        Role::Worker,
        stop_serving.clone(),
    );
    let watching = tokio::spawn(watching);

    tokio::select! {
        () = stop.cancelled() => {}
        () = ended.cancelled() => {}
        () = be_ready(&health, pool.settlement_refused()) => {}
        () = health.announce(address, &config.broker_url) => {}
    }
    health.set_ready(false);
    running.drain(config.drain_timeout).await;
    stop_serving.cancel();
    let _ = serving.await;
    let _ = watching.await;
    tracing::info!("proxy-service has stopped");
    match stop.is_cancelled() {
        true => Ok(()),
        false => Err(LoopEnded.into()),
    }
}

fn connect(config: &Config) -> Backend {
    let options = BrokerOptions {
        lease: config.worker.lease,
        // It publishes nothing.
        durability: Durability::Volatile,
        // Each record says for itself how long it is kept.
        retention: Retention::default(),
    };
    broker::connect(&config.broker_url, options)
}

/// Answers every call of the proxy.
fn app(
    operations: &Operations,
    config: &Config,
    pool: &WorkerPool,
    letters: Arc<dyn DeadLetters>,
    health: &Health,
    metrics: Metrics,
    http: &HttpMetrics,
) -> Router {
    let stations = pool.stations().clone();
    let admin = Admin {
        health: health.clone(),
        metrics: metrics.clone(),
        pending: Arc::new(move || stations.occupancy().0),
    };
    let mut routes = router::router(operations, pool.stations(), admin);
    if let Some(token) = config.admin_token.clone() {
        routes = dead_letters::enable(routes, token, letters, &metrics);
    }
    let (routes, _) = openapi::serve(routes);
    middleware::every_call(routes, http.clone(), health.clone())
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
