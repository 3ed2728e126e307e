//! What an operator asks of either service: /livez, /readyz, /healthz and /metrics.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::problem;
use crate::observe::exposition::Exposition;
use crate::observe::health::{Health, Sample};
use crate::observe::metrics::Metrics;
use crate::operation::OperationName;

/// What machines ask every few seconds. Answered also when all connections are taken, and never traced.
pub const PROBES: [&str; 4] = ["/livez", "/readyz", "/healthz", "/metrics"];

/// What the routes of this module need.
#[derive(Clone)]
pub struct Admin {
    /// The condition of this process.
    pub health: Health,
    /// The metrics of this process.
    pub metrics: Metrics,
    /// How many requests this process has in hand.
    pub pending: Arc<dyn Fn() -> usize + Send + Sync>,
}

/// The routes an operator asks, and the explanations of problems.
pub fn router(admin: Admin) -> OpenApiRouter {
    let exposition = Exposition::new(admin.metrics.clone());
    OpenApiRouter::new()
        .routes(routes!(live))
        .routes(routes!(ready))
        .routes(routes!(health))
        .with_state(admin)
        .merge(OpenApiRouter::new().routes(routes!(metrics)).with_state(exposition))
        .routes(routes!(problem::kinds::explain))
}

/// The condition of a service and of its connection to the broker.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthReport {
    /// `Healthy`; `Degraded` while the broker does not answer but may; `Unhealthy` while the circuit to it is open.
    #[schema(example = "Healthy")]
    status: &'static str,
    /// Which service this is.
    #[schema(example = "ingress-service")]
    service: &'static str,
    /// When this was asked, RFC 3339 in UTC.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    timestamp: OffsetDateTime,
    /// How long the broker took to answer, in milliseconds, at most a second ago; null while it does not.
    #[schema(example = 0.21)]
    redis_response_time: Option<f64>,
    /// Requests this process has in hand.
    #[schema(example = 3)]
    pending_requests: usize,
    /// The circuit breaker around the broker: `closed`, `half-open` or `open`.
    #[schema(example = "closed")]
    circuit: &'static str,
    /// Requests of all operations that no worker holds, at most a second ago.
    #[schema(example = 0)]
    queue_depth: u64,
    /// Workers that gave a sign of life within 15 seconds, whoever runs them: of the operation that has the most.
    #[schema(example = 2)]
    workers: u64,
    /// Requests that these do at the same time at most, as far as they say.
    #[schema(example = 128)]
    terminals: u64,
    /// The same of each operation.
    queues: Vec<QueueReport>,
}

/// The condition of one operation's queue.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueReport {
    /// The operation.
    #[schema(example = "weather")]
    operation: &'static str,
    /// Requests that no worker holds.
    #[schema(example = 0)]
    queue_depth: u64,
    /// Workers that claim from it.
    #[schema(example = 2)]
    workers: u64,
    /// Requests that these do at the same time at most.
    #[schema(example = 128)]
    terminals: u64,
}

impl QueueReport {
    fn of((operation, sample): (OperationName, Sample)) -> Self {
        Self {
            operation: operation.as_str(),
            queue_depth: sample.depth.waiting,
            workers: sample.depth.workers,
            terminals: sample.depth.terminals,
        }
    }
}

impl HealthReport {
    /// The condition now.
    #[must_use]
    pub fn of(health: &Health, pending_requests: usize) -> Self {
        let (circuit, response_time) = (health.circuit(), health.response_time());
        let status = match (circuit, response_time) {
            (crate::resilience::breaker::State::Open, _) => "Unhealthy",
            (_, None) => "Degraded",
            _ => "Healthy",
        };
        let queues: Vec<_> = health.samples().map(QueueReport::of).collect();
        Self {
            status,
            service: health.service(),
            timestamp: OffsetDateTime::now_utc(),
            redis_response_time: response_time.map(|time| time.as_micros() as f64 / 1000.0),
            pending_requests,
            circuit: circuit.name(),
            queue_depth: queues.iter().map(|queue| queue.queue_depth).sum(),
            workers: queues.iter().map(|queue| queue.workers).max().unwrap_or_default(),
            terminals: queues.iter().map(|queue| queue.terminals).max().unwrap_or_default(),
            queues,
        }
    }
}

impl IntoResponse for HealthReport {
    fn into_response(self) -> axum::response::Response {
        let status = match self.status {
            "Unhealthy" => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::OK,
        };
        (status, Json(self)).into_response()
    }
}

/// Is the process alive? Never asks the broker
#[utoipa::path(get, path = "/livez", tag = "operation", responses((status = 200, description = "It is", body = String)))]
async fn live() -> &'static str {
    "alive"
}

/// Are new requests welcome? Not before the start is complete, nor while draining
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "operation",
    responses(
        (status = 200, description = "They are", body = String),
        (status = 503, description = "Starting, draining, or refused by the broker (`not-ready`)", body = problem::ProblemDocument, content_type = problem::MEDIA_TYPE),
    ),
)]
async fn ready(State(admin): State<Admin>) -> Result<&'static str, problem::Problem> {
    if admin.health.is_ready() {
        return Ok("ready");
    }
    let detail = match admin.health.broker_is_fit() {
        true => "the service is starting or draining",
        false => "the broker refuses this service, or lacks what it needs; the log says what",
    };
    Err(problem::Problem::new(problem::ProblemType::NotReady, detail))
}

/// The condition of the service and of its connection to the broker
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "operation",
    responses(
        (status = 200, description = "Healthy, or degraded", body = HealthReport),
        (status = 503, description = "The circuit to the broker is open", body = HealthReport,
         example = json!({
             "status": "Unhealthy", "service": "ingress-service", "timestamp": "2026-11-21T09:30:00.123Z",
             "redisResponseTime": null, "pendingRequests": 3, "circuit": "open", "queueDepth": 0, "workers": 0,
             "terminals": 0, "queues": [{"operation": "weather", "queueDepth": 0, "workers": 0, "terminals": 0}],
         })),
    ),
)]
async fn health(State(admin): State<Admin>) -> HealthReport {
    HealthReport::of(&admin.health, (admin.pending)())
}

/// Metrics in Prometheus' text format, a quarter of a second old at most
#[utoipa::path(get, path = "/metrics", tag = "operation", responses((status = 200, description = "All metrics", body = String, content_type = "text/plain")))]
async fn metrics(State(exposition): State<Exposition>) -> impl IntoResponse {
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        exposition.text().await,
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::time::Duration;

    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use prometheus::core::{Collector, Desc};
    use prometheus::proto::MetricFamily;
    use tokio::task::JoinSet;
    use tokio::time::{Instant, sleep};
    use tower::ServiceExt as _;

    use super::*;
    use crate::broker::memory::MemoryBroker;
    use crate::resilience::circuit_broker::CircuitBroker;

    /// Counts how often it is asked.
    #[derive(Clone, Default)]
    struct Asked(Arc<AtomicUsize>);

    impl Collector for Asked {
        fn desc(&self) -> Vec<&Desc> {
            Vec::new()
        }

        fn collect(&self) -> Vec<MetricFamily> {
            self.0.fetch_add(1, Relaxed);
            Vec::new()
        }
    }

    fn app(metrics: &Metrics) -> Router {
        let breaker = CircuitBroker::new(Arc::new(MemoryBroker::new())).breaker();
        let health = Health::new("test", breaker, metrics, []);
        let metrics = metrics.clone();
        let pending = Arc::new(|| 0);
        router(Admin {
            health,
            metrics,
            pending,
        })
        .split_for_parts()
        .0
    }

    async fn scrape(app: Router) -> String {
        let request = Request::get("/metrics").body(Body::empty()).unwrap();
        let response = app.oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_storm_of_scrapes_is_answered_with_few_renderings() {
        let (metrics, asked) = (Metrics::new(), Asked::default());
        metrics.collect(Box::new(asked.clone()));
        let (app, counter) = (app(&metrics), metrics.counter("storms_total", "Storms"));
        let started = Instant::now();
        for _ in 0..20 {
            let storm: JoinSet<_> = (0..200).map(|_| scrape(app.clone())).collect();
            assert_eq!(storm.join_all().await.len(), 200);
            sleep(Duration::from_millis(50)).await;
        }
        let most = 1 + started.elapsed().as_millis() as usize / 250;
        let renderings = asked.0.load(Relaxed);
        assert!(renderings <= most, "{renderings} renderings in {:?}", started.elapsed());
        counter.inc();
        sleep(Duration::from_millis(250)).await;
        assert!(scrape(app).await.contains("storms_total 1\n"));
    }
}
