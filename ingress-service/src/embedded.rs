//! WorkerPool inside the ingress, for memory://: the whole of Roundtrip in one process.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use proxy_service::metrics::WorkerMetrics;
use proxy_service::operations::weather::handler::WeatherHandler;
use proxy_service::pool::{Running, WorkerPool};
use roundtrip::Broker;
use roundtrip::broker::ResultStore;
use roundtrip::observe::metrics::Metrics;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// Starts the workers.
pub(crate) fn start(
    config: &Config,
    broker: Arc<dyn Broker>,
    records: Arc<dyn ResultStore>,
    metrics: &Metrics,
    ended: &CancellationToken,
) -> Result<Running, Box<dyn Error + Send + Sync>> {
    let worker_metrics = WorkerMetrics::new(metrics);
    let handler = WeatherHandler::new(config.weather.provider()?);
    let workers = WorkerPool::new(handler, &config.worker, worker_metrics.clone());
    Ok(workers.start(broker, records, &config.worker, &worker_metrics, ended))
}

/// Tells a person who just started this what to do with it.
#[allow(clippy::print_stdout)] // This is for people, not for logs.
pub(crate) fn greet(address: SocketAddr) {
    let host = match address.ip() {
        ip if ip.is_loopback() || ip.is_unspecified() => "localhost".to_owned(),
        ip => ip.to_string(),
    };
    let url = format!("http://{host}:{}", address.port());
    println!(
        "
Roundtrip is up, with its workers inside (memory://: nothing is kept over a restart).

  Swagger   {url}/swagger
  Try it    curl -s {url}/WeatherForecast/city -H 'Content-Type: application/json' -d '{{\"city\":\"New York\",\"location\":\"Downtown\"}}'
  On Redis  BROKER_URL=redis://127.0.0.1:6379 cargo run --release                       # this service, as often as you like
            BROKER_URL=redis://127.0.0.1:6379 cargo run --release -p proxy-service      # its workers, as often as you like
  Stop      Ctrl-C: what is in flight is answered first
"
    );
}
