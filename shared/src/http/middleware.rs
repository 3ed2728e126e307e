//! What happens around every HTTP call, in one place and one pass: each layer of its own would cost an
//! allocation and a copy of the routes for every request. Outermost first: request id, metrics, problem
//! documents, catch-panic, Host, header limit.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CONNECTION, TRANSFER_ENCODING};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use tracing::Instrument as _;

use crate::http::host;
use crate::http::probes::PROBES;
use crate::http::problem::{self, Problem, ProblemType};
use crate::http::request_id::{self, RequestId};
use crate::observe::health::Health;
use crate::observe::metrics::HttpMetrics;
use crate::observe::trace::{Kind, Span, TRACEPARENT, Trace};

/// The largest head, in bytes of request target, names and values.
const MAX_HEAD: usize = 16 * 1024;

#[derive(Clone)]
struct Around {
    http: HttpMetrics,
    health: Health,
}

/// Puts what every route needs around `routes`.
pub fn every_call(routes: Router, http: HttpMetrics, health: Health) -> Router {
    routes.layer(from_fn_with_state(Around { http, health }, around))
}

async fn around(State(service): State<Around>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = RequestId::new();
    let theirs = request_id::of_caller(request.headers());
    request.extensions_mut().insert(id);
    let span = request_id::span(id, theirs.as_ref());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut served = trace(&mut request, id, route.as_ref());

    let answered = match refuse(&request) {
        Some(refusal) => Ok(refusal),
        None => {
            AssertUnwindSafe(next.run(request))
                .catch_unwind()
                .instrument(span)
                .await
        }
    };
    let response = answered.unwrap_or_else(|panic| answer_panic(id, panic.as_ref()));

    let problem = match response.status().is_server_error() {
        true => response.extensions().get::<Problem>().cloned(),
        false => None,
    };
    let mut response = problem::write_out(response, id);
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let status = response.status();
    if status.is_server_error() {
        let call = FailedCall {
            status,
            route,
            id,
            theirs: theirs.as_ref().and_then(|value| value.to_str().ok()),
            problem: problem.as_ref(),
        };
        call.log(&served.trace());
    }
    served.set("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        served.fail(status.canonical_reason().unwrap_or("server error"));
    }
    let headers = response.headers_mut();
    headers.insert(request_id::HEADER, theirs.unwrap_or_else(|| id.to_header()));
    if !service.health.is_ready() {
        // While draining, clients open their next connection elsewhere: one that is closed while idle could
        // be closed just as its client writes the next request.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    service
        .http
        .observe(&method, route, response.status(), started.elapsed());
    response
}

/// Begins the span of a call, and leaves its place for the routes. What operators and their tools ask is not recorded.
/// <https://opentelemetry.io/docs/specs/semconv/http/http-spans/>
fn trace(request: &mut Request, id: RequestId, route: Option<&MatchedPath>) -> Span {
    let Some(route) = route.map(MatchedPath::as_str).filter(|route| !PROBES.contains(route)) else {
        return Span::default();
    };
    let mut theirs = request.headers().get_all(TRACEPARENT).iter();
    // Which of several is meant would be a guess.
    let theirs = theirs.next().filter(|_| theirs.next().is_none());
    let call = Trace::of_call(theirs.and_then(|value| value.to_str().ok()));
    let mut span = call.begin(Kind::Server, || format!("{} {route}", request.method()));
    if span.is_recorded() {
        span.set("http.request.method", request.method().to_string());
        span.set("http.route", route.to_owned());
        span.set("roundtrip.request.id", id.to_string());
        request.extensions_mut().insert(span.trace());
    } else if call.traceparent().is_some() {
        request.extensions_mut().insert(call);
    }
    span
}

/// A call that ended in a server error, for the log: what its caller may ask about later.
struct FailedCall<'a> {
    status: StatusCode,
    route: &'a str,
    id: RequestId,
    theirs: Option<&'a str>,
    problem: Option<&'a Problem>,
}

impl FailedCall<'_> {
    /// Refusals (503), and what is not known because the broker went away, are counted and logged at debug level only:
    /// an overload or an outage should not become a flood of lines.
    fn log(&self, trace: &Trace) {
        let Self { route, theirs, id, .. } = self;
        let (trace_id, status) = (trace.id(), self.status.as_u16());
        let kind = self.problem.map(Problem::kind);
        let (problem, cause) = (kind.map(ProblemType::uri), self.problem.map(Problem::detail));
        let is_one_of_many =
            self.status == StatusCode::SERVICE_UNAVAILABLE || kind == Some(ProblemType::OutcomeUnknown);
        if is_one_of_many {
            tracing::debug!(request_id = %id, trace_id, client_request_id = theirs, route, status, problem, cause, "refused a call");
        } else {
            tracing::warn!(request_id = %id, trace_id, client_request_id = theirs, route, status, problem, cause, "a call failed");
        }
    }
}

fn refuse(request: &Request) -> Option<Response> {
    if has_unknown_coding(request) {
        let detail = "header Transfer-Encoding: only chunked is understood";
        let mut response = Problem::new(ProblemType::TransferCodingUnknown, detail).into_response();
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
        return Some(response);
    }
    let problem = host::refuse(request.version(), request.headers()).or_else(|| refuse_large_head(request));
    problem.map(IntoResponse::into_response)
}

/// Whether something was done to the body besides cutting it in chunks
/// (<https://www.rfc-editor.org/rfc/rfc9112#section-6.1>). hyper looks only at the last coding.
fn has_unknown_coding(request: &Request) -> bool {
    let mut codings = request.headers().get_all(TRANSFER_ENCODING).iter();
    codings.next().is_some_and(|coding| {
        !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") || codings.next().is_some()
    })
}

fn refuse_large_head(request: &Request) -> Option<Problem> {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    // Each line has a colon, a space and a line end besides.
    let lines = request
        .headers()
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4);
    let problem = || {
        Problem::new(
            ProblemType::HeadersTooLarge,
            "request line and headers together may have 16 KiB",
        )
    };
    (target + lines.sum::<usize>() > MAX_HEAD).then(problem)
}

fn answer_panic(id: RequestId, panic: &(dyn std::any::Any + Send)) -> Response {
    let message = panic.downcast_ref::<&str>().copied();
    let message = message.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(request_id = %id, panic = message.unwrap_or_default(), "a request handler panicked");
    Problem::new(ProblemType::Internal, "the request could not be completed").into_response()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use axum::body::{Body, to_bytes};
    use axum::routing::get;
    use tower::ServiceExt as _;

    use super::*;
    use crate::broker::memory::MemoryBroker;
    use crate::observe::metrics::Metrics;
    use crate::resilience::circuit_broker::CircuitBroker;

    fn app(metrics: &Metrics) -> (Router, Health) {
        let breaker = CircuitBroker::new(Arc::new(MemoryBroker::new())).breaker();
        let health = Health::new("test", breaker, metrics, []);
        health.set_ready(true);
        let routes = Router::new()
            .route("/ok", get(async || "fine"))
            .route("/panic", get(async || -> &'static str { panic!("a secret detail") }));
        (every_call(routes, HttpMetrics::new(metrics), health.clone()), health)
    }

    async fn call(app: &Router, path: &str, header: Option<(&str, &str)>) -> (StatusCode, Response<String>) {
        let mut request = Request::get(path).header("host", "localhost");
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let text = String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap();
        (parts.status, Response::from_parts(parts, text))
    }

    #[tokio::test]
    async fn a_panic_becomes_a_problem_that_tells_nothing_and_is_counted() {
        let metrics = Metrics::new();
        let (status, response) = call(&app(&metrics).0, "/panic", None).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(response.body().contains("/problems/internal") && !response.body().contains("secret"));
        assert!(
            metrics
                .encode()
                .contains(r#"http_requests_total{method="GET",route="/panic",status="500"} 1"#)
        );
    }

    #[tokio::test]
    async fn an_unknown_path_is_a_problem_and_makes_no_new_series() {
        let metrics = Metrics::new();
        let (status, response) = call(&app(&metrics).0, "/random-4711", None).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert_eq!(response.headers()["content-type"], problem::MEDIA_TYPE);
        assert!(metrics.encode().contains(r#"route="unmatched",status="404""#));
        assert!(!metrics.encode().contains("4711"));
    }

    #[tokio::test]
    async fn a_callers_id_is_echoed_and_the_problem_has_ours() {
        let (_, response) = call(&app(&Metrics::new()).0, "/nowhere", Some(("x-request-id", "theirs"))).await;
        assert_eq!(response.headers()[request_id::HEADER], "theirs");
        assert!(!response.body().contains("theirs"));
        let (_, response) = call(&app(&Metrics::new()).0, "/nowhere", None).await;
        let ours = response.headers()[request_id::HEADER].to_str().unwrap().to_owned();
        assert!(response.body().contains(&ours));
    }

    #[tokio::test]
    async fn a_head_over_the_limit_is_refused() {
        let (app, _) = app(&Metrics::new());
        let fits = "x".repeat(MAX_HEAD - 100);
        assert_eq!(call(&app, "/ok", Some(("x-long", &fits))).await.0, StatusCode::OK);
        let large = "x".repeat(MAX_HEAD);
        let (status, response) = call(&app, "/ok", Some(("x-long", &large))).await;
        assert_eq!(status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        assert!(response.body().contains("/problems/headers-too-large"));
    }

    #[tokio::test]
    async fn connections_are_closed_only_while_draining() {
        let (app, health) = app(&Metrics::new());
        assert!(!call(&app, "/ok", None).await.1.headers().contains_key(CONNECTION));
        health.set_ready(false);
        assert_eq!(call(&app, "/ok", None).await.1.headers()[CONNECTION], "close");
    }
}
