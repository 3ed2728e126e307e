//! The HTTP server: limits for slow and oversized heads, and a drain that cuts nobody off.
//! Our own accept loop, because `axum::serve` offers neither a header timeout nor a bounded drain.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::catch_panic::CatchPanicLayer;

use super::health::Health;
use super::metrics::HttpMetrics;
use super::problem::{self, Problem, ProblemType};
use super::request_id;

/// The largest header block, in bytes of names and values.
const MAX_HEADERS: usize = 16 * 1024;

/// Where hyper itself stops reading a head. Larger than [`MAX_HEADERS`], so that what is a little too large
/// gets a readable answer.
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

/// Puts what every route needs around `routes`; outermost first: request id, problem documents, metrics,
/// catch-panic, header limit.
pub fn with_layers(routes: Router, http: HttpMetrics, health: Health) -> Router {
    routes
        .layer(from_fn(limit_headers))
        // Inside the metrics, so that a panic counts as the 500 it becomes.
        .layer(CatchPanicLayer::custom(answer_panic))
        .layer(from_fn_with_state(http, HttpMetrics::layer))
        .layer(from_fn(problem::layer))
        .layer(from_fn(request_id::layer))
        .layer(from_fn_with_state(health, announce_drain))
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

/// While draining, asks clients to open their next connection elsewhere. A connection that is closed while
/// idle could be closed just as its client writes the next request.
async fn announce_drain(State(health): State<Health>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if !health.is_ready() {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn limit_headers(request: Request, next: Next) -> Result<Response, Problem> {
    let headers = request.headers().iter();
    let size: usize = headers.map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if size + request.uri().path_and_query().map_or(0, |target| target.as_str().len()) > MAX_HEADERS {
        return Err(Problem::new(
            ProblemType::HeadersTooLarge,
            "request line and headers together may have 16 KiB",
        ));
    }
    Ok(next.run(request).await)
}

fn answer_panic(panic: Box<dyn std::any::Any + Send>) -> Response {
    let message = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    tracing::error!(panic = message.unwrap_or_default(), "a request handler panicked");
    axum::response::IntoResponse::into_response(Problem::new(
        ProblemType::Internal,
        "the request could not be completed",
    ))
}
