//! HTTP front of Roundtrip. The flow of one call reads top down: a route in [`routes`] validates, [`requester`] asks
//! `admission`, registers, publishes and awaits, `publisher` and `replies` move batches to and from the broker,
//! `pending` knows who waits for what. [`exchange`] is all of it together, between its door and its broker.

pub mod config;
pub mod documents;
pub mod exchange;
pub mod json_body;
pub mod metrics;
pub mod openapi;
pub mod operations;
pub mod request_options;
pub mod requester;
pub mod response;
pub mod router;
pub mod routes;

#[cfg(feature = "bench")]
pub mod bench;

mod admission;
mod body_memory;
mod disconnects;
mod embedded;
mod heartbeat;
mod pending;
mod problems;
mod publisher;
mod replies;
mod result_writer;
mod transport;
mod wait_limits;
mod watches;

use std::error::Error;

use proxy_service::operations::weather::work::Weather;
use roundtrip::broker;
use roundtrip::http::server;
use roundtrip::process::shutdown::{LoopEnded, spawn_essential};
use tokio_util::sync::CancellationToken;

use config::Config;
use exchange::Exchange;
use operations::Operations;

/// The operations of this service.
#[must_use]
pub fn operations() -> Operations {
    Operations::new()
        .with::<Weather>(routes::weather::routes)
        .showing(routes::weather::EXAMPLE)
}

/// Runs the ingress until `stop`, then drains it: callers who are waiting get their answers while publisher
/// and reply reader still live.
///
/// # Errors
/// When it cannot start: the address is taken, or embedded workers cannot be built. When a loop it needs ended.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), Box<dyn Error + Send + Sync>> {
    let work = proxy_service::operations(&config.weather)?;
    run_with(&operations(), &work, config, stop).await
}

/// The same with other operations; `work` is what workers inside do, with memory://.
///
/// # Errors
/// As [`run`].
pub async fn run_with(
    operations: &Operations,
    work: &proxy_service::operations::Operations,
    config: Config,
    stop: CancellationToken,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let listener = server::bind(config.listen_addr)?;
    let address = listener.local_addr()?;
    let backend = broker::connect(&config.broker_url, config.broker_options());
    let mut exchange = Exchange::start(&config, backend, operations);
    if config.broker_url.is_memory() {
        exchange.work_inside(work, &config);
    }
    let serving = server::serve(
        listener,
        exchange.app(),
        config.connections.limits(),
        exchange.http(),
        exchange.stop_serving(),
        config.drain_timeout,
    );
    let serving = spawn_essential(exchange.ended(), serving);
    if config.broker_url.is_memory() {
        embedded::greet(address, operations.example().unwrap_or("/healthz"));
    }
    exchange.set_ready();

    let health = exchange.health();
    tokio::select! {
        () = stop.cancelled() => {}
        () = exchange.ended().cancelled() => {}
        () = health.announce(address, &config.broker_url) => {}
    }
    exchange.drain(serving).await;
    tracing::info!("ingress-service has stopped");
    match stop.is_cancelled() {
        true => Ok(()),
        false => Err(LoopEnded.into()),
    }
}
