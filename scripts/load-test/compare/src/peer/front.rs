//! The front all peers share: takes the call, forwards the body's bytes, answers with the reply's bytes. Bare: no
//! validation, metrics, traces or limits.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use bytes::Bytes;
use tokio::net::TcpListener;

use crate::BoxError;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// How a peer gets a question to its worker and the answer back.
pub(crate) trait Ask: Clone + Send + Sync + 'static {
    /// The worker's answer to `question`; an empty one is a refusal.
    fn ask(&self, question: Bytes) -> impl Future<Output = Result<Bytes, BoxError>> + Send;
}

/// Serves calls until the process is ended.
pub(crate) async fn serve<A: Ask>(listen: SocketAddr, asker: A) -> Result<(), BoxError> {
    let calls = Router::new()
        .route("/WeatherForecast/city", post(call::<A>))
        // The load test asks for it once, before it starts.
        .route("/healthz", get(async || ()))
        .with_state(asker);
    serve_router(TcpListener::bind(listen).await?, calls).await
}

/// Serves `router` as every HTTP server here does.
pub(crate) async fn serve_router(listener: TcpListener, router: Router) -> Result<(), BoxError> {
    // Answers are written whole: waiting to coalesce them only adds latency.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    Ok(axum::serve(listener, router).await?)
}

async fn call<A: Ask>(State(asker): State<A>, question: Bytes) -> Response {
    match asker.ask(question).await {
        Ok(answer) => answer_with(answer),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

/// The answer as an HTTP response.
pub(crate) fn answer_with(answer: Bytes) -> Response {
    match answer.is_empty() {
        true => StatusCode::BAD_REQUEST.into_response(),
        false => ([(CONTENT_TYPE, JSON)], answer).into_response(),
    }
}
