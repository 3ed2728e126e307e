//! The HTTP server: limits for slow and oversized heads, and a drain that cuts nobody off.
//! Our own accept loop, because `axum::serve` offers neither a header timeout nor a bounded drain.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Where hyper itself stops reading a head. Larger than what the service accepts, so that what is a little
/// too large gets a readable answer.
const READ_BUFFER: usize = 64 * 1024;

/// A head that takes longer is an attack or a broken client.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);

/// After the drain of one connection nothing is left to send; past this its peer does not read.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// Listens on an address.
///
/// # Errors
/// A sentence that names the address, the reason, and the variable to change.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| ListenError { address, source })
}

/// An address that cannot be listened on.
#[derive(Debug)]
pub struct ListenError {
    address: SocketAddr,
    source: std::io::Error,
}

impl std::fmt::Display for ListenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "could not listen on {}; set LISTEN_ADDR to a free address",
            self.address
        )
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Serves until `stop`, then answers what is under way and returns.
pub async fn serve(listener: TcpListener, app: Router, stop: CancellationToken) {
    let connections = TaskTracker::new();
    let mut pause = super::retry::Delays::new(Duration::from_millis(5), Duration::from_secs(1));
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(serve_connection(stream, app.clone(), stop.clone()));
                pause.reset();
            }
            // Out of descriptors, or the peer gave up already: neither is a reason to stop serving.
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(pause.next().unwrap_or_default()).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn serve_connection(stream: TcpStream, app: Router, stop: CancellationToken) {
    // Answers are written whole: waiting to coalesce them only adds latency.
    let _ = stream.set_nodelay(true);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .max_buf_size(READ_BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(READ_BUFFER as u32)
        .keep_alive_interval(Some(Duration::from_secs(20)));
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match timeout(CLOSE_TIMEOUT, connection).await {
                Ok(ended) => ended,
                Err(_) => return tracing::warn!("a connection did not close in time"),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(
            error = super::telemetry::with_causes(error.as_ref()),
            "a connection ended early"
        );
    }
}
