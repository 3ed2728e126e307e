//! The HTTP server: limits for slow and oversized heads, and a drain that cuts nobody off.
//! Our own accept loop, because `axum::serve` offers neither a header timeout nor a bounded drain.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::retry::Delays;
use super::telemetry::with_causes;

/// Where hyper itself stops reading a head. Larger than what the service accepts, so that what is a little
/// too large gets a readable answer.
const READ_BUFFER: usize = 64 * 1024;

/// A head that takes longer is an attack or a broken client.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);

/// After the stop, the time for a request that is on its way: its answer asks the client to close. Only then
/// is an idle connection closed from our side.
const PARTING_TIME: Duration = Duration::from_millis(500);

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

/// Serves until `stop`, then answers what is under way, and what was connecting, for as long as `grace`,
/// cuts off what is left, and returns.
pub async fn serve(listener: TcpListener, app: Router, stop: CancellationToken, grace: Duration) {
    let (connections, cut_off) = (TaskTracker::new(), CancellationToken::new());
    let start = |stream| {
        let connection = serve_connection(stream, app.clone(), stop.clone());
        let cut_off = cut_off.clone();
        connections.spawn(async move { cut_off.run_until_cancelled(connection).await })
    };
    let mut pause = Delays::new(Duration::from_millis(5), Duration::from_secs(1));
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, _)) => {
                start(stream);
                pause.reset();
            }
            // Out of descriptors, or the peer gave up already: neither is a reason to stop serving.
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(pause.next().unwrap_or_default()).await;
            }
        }
    }
    backlog(listener).into_iter().for_each(|stream| drop(start(stream)));
    connections.close();
    if timeout(grace, connections.wait()).await.is_err() {
        tracing::warn!(
            count = connections.len(),
            "the grace period is over; cutting off those who still wait"
        );
        cut_off.cancel();
        connections.wait().await;
    }
}

/// Connections that clients have already and we have not: the system would reset them with the listener.
fn backlog(listener: TcpListener) -> Vec<TcpStream> {
    let Ok(listener) = listener.into_std() else {
        return Vec::new();
    };
    let waiting = std::iter::from_fn(|| listener.accept().ok());
    waiting
        .filter_map(|(stream, _)| {
            stream.set_nonblocking(true).ok()?;
            TcpStream::from_std(stream).ok()
        })
        .collect()
}

async fn serve_connection(stream: TcpStream, app: Router, stop: CancellationToken) {
    // Answers are written whole: waiting to coalesce them only adds latency.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .max_buf_size(READ_BUFFER)
        // Answers are small: copied behind their head they cost less than a vectored write.
        .writev(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    tokio::pin!(connection);
    let mut ended = stop.run_until_cancelled(connection.as_mut()).await;
    if ended.is_none() {
        ended = timeout(PARTING_TIME, connection.as_mut()).await.ok();
    }
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = with_causes(&error), "a connection ended early");
    }
}
