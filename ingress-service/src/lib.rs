//! HTTP front of Roundtrip. The flow of one call reads top down: a route in [`routes`] validates,
//! [`requester`] asks `admission`, registers, publishes and awaits, `publisher` and `replies` move batches to and from the
//! broker, `pending` knows who waits for what. [`exchange`] is all of it together, between its door and its broker.

pub mod config;
pub mod documents;
pub mod exchange;
pub mod json_body;
pub mod metrics;
pub mod openapi;
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
mod wait_limits;
mod watches;

use std::error::Error;

use roundtrip::broker;
use roundtrip::http::server;
use roundtrip::process::shutdown::{LoopEnded, spawn_essential};
use tokio_util::sync::CancellationToken;

use config::Config;
use exchange::Exchange;

/// Runs the ingress until `stop`, then drains it: callers who are waiting get their answers while publisher
/// and reply reader still live.
///
/// # Errors
/// When it cannot start: the address is taken, or embedded workers cannot be built. When a loop it needs ended.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), Box<dyn Error + Send + Sync>> {
    let listener = server::bind(config.listen_addr)?;
    let address = listener.local_addr()?;
    let backend = broker::connect(&config.broker_url, config.broker_options());
    let mut exchange = Exchange::start(&config, backend);
    if config.broker_url.is_memory() {
        exchange.work_inside(&config)?;
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
        embedded::greet(address);
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
    if stop.is_cancelled() {
        Ok(())
    } else {
        Err(LoopEnded.into())
    }
}
