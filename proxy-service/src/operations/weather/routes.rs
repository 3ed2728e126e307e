//! The weather on a worker's own HTTP server: a forecast past the stream, and the status under its old name.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use roundtrip::http::parameters::Parameters;
use roundtrip::http::problem::{MEDIA_TYPE, Problem, ProblemDocument, ProblemType};
use roundtrip::http::request_id::RequestId;
use roundtrip::{Budget, Keep, OperationName, Origin, ReplyTo, Request};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::contract::DailyForecast;
use super::options::ProviderKind;
use super::query::{ForecastParameters, WeatherQuery};
use super::work::Weather;
use crate::station::Stations;

/// What a caller past the stream gets at most.
const DIRECT_BUDGET: Duration = Duration::from_secs(30);

/// What the routes of this module need.
#[derive(Debug, Clone)]
struct DirectState {
    stations: Stations,
    provider: ProviderKind,
}

/// The routes.
#[must_use]
pub fn routes(stations: &Stations, provider: ProviderKind) -> OpenApiRouter {
    let stations = stations.clone();
    OpenApiRouter::new()
        .routes(routes!(forecast))
        .routes(routes!(status))
        .with_state(DirectState { stations, provider })
}

/// A forecast straight from this proxy's provider, past the stream
#[utoipa::path(
    get,
    path = "/WeatherForecast",
    tag = "weather",
    params(ForecastParameters),
    responses(
        (status = 200, description = "One entry a day, today first", body = Vec<DailyForecast>),
        (status = 400, description = "A parameter is there twice, unknown, or no UTF-8 (`bad-request`)", body = ProblemDocument, content_type = MEDIA_TYPE),
        (status = 404, description = "The city is not known (`not-found`)", body = ProblemDocument, content_type = MEDIA_TYPE),
        (status = 422, description = "A parameter is not accepted (`validation-failed`)", body = ProblemDocument, content_type = MEDIA_TYPE),
        (status = 431, description = "Request line and headers have more than 16 KiB (`headers-too-large`)", body = ProblemDocument, content_type = MEDIA_TYPE),
        (status = 500, description = "The worker failed on this request (`internal`)", body = ProblemDocument, content_type = MEDIA_TYPE),
        (status = 502, description = "The upstream failed (`upstream-failed`), or refused (`upstream-refused`)", body = ProblemDocument, content_type = MEDIA_TYPE),
        (status = 503, description = "No terminal is free (`overloaded`), or the upstream is unavailable (`upstream-unavailable`)", body = ProblemDocument, content_type = MEDIA_TYPE),
        (status = 504, description = "The upstream did not answer in time (`upstream-timeout`), or the time of the call ran out (`expired`)", body = ProblemDocument, content_type = MEDIA_TYPE),
    ),
)]
async fn forecast(
    State(state): State<DirectState>,
    Extension(id): Extension<RequestId>,
    parameters: Parameters,
) -> Result<impl IntoResponse, Problem> {
    let query = WeatherQuery::forecast(&parameters)?;
    let request = Request {
        id: id.0,
        origin: Origin::of(OperationName::of_operation::<Weather>()),
        reply_to: ReplyTo::unique("http"),
        budget: Budget::new(DIRECT_BUDGET),
        traceparent: None,
        keep: Keep::No,
        data: query.to_json().into(),
    };
    let outcome = state.stations.work_on(request).await.ok_or_else(|| {
        Problem::new(ProblemType::Overloaded, "no terminal of this proxy is free").retry_after(Duration::from_secs(1))
    })?;
    let answer: Bytes = outcome.map_err(|failure| Problem::from(failure.to_fault()))?;
    Ok(([(CONTENT_TYPE, "application/json")], answer))
}

/// What the workers of one process are doing.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Status {
    /// Which service this is.
    #[schema(example = "proxy-service")]
    service: &'static str,
    /// Requests in hand: at work, or done and about to be settled.
    #[schema(example = 3)]
    active_terminals: usize,
    /// Requests it works on at the same time at most.
    #[schema(example = 64)]
    terminals: usize,
    /// Who knows the weather: `simulated` or `open-meteo`.
    #[schema(example = "simulated")]
    provider: &'static str,
    /// The circuit breaker around the upstream: `closed`, `half-open` or `open`.
    #[schema(example = "closed")]
    upstream_circuit: &'static str,
}

/// What the workers of this process are doing
#[utoipa::path(
    get,
    path = "/WeatherForecast/status",
    tag = "weather",
    responses((status = 200, description = "Terminals, provider and breaker", body = Status)),
)]
async fn status(State(state): State<DirectState>) -> impl IntoResponse {
    let (active_terminals, terminals) = state.stations.occupancy();
    Json(Status {
        service: "proxy-service",
        active_terminals,
        terminals,
        provider: state.provider.name(),
        upstream_circuit: state
            .stations
            .upstream(OperationName::of_operation::<Weather>())
            .state()
            .name(),
    })
}
