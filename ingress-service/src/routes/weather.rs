//! The weather: validated here, answered by a worker.

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use proxy_service::operations::weather::contract::{CurrentWeather, DailyForecast};
use proxy_service::operations::weather::query::{CityRequest, ForecastParameters, QueryError, WeatherQuery};
use roundtrip::http::parameters::{NoParameters, Parameters};
use roundtrip::http::probes::HealthReport;
use roundtrip::http::problem::{Problem, ProblemType};
use roundtrip::http::request_id::RequestId;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::json_body::JsonBody;
use crate::openapi::{CallHeaders, Promised, ReadErrors, RoundTripErrors};
use crate::operations::Calls;
use crate::request_options::RequestOptions;

/// The rest of a command that asks for the weather.
pub(crate) const EXAMPLE: &str =
    r#"/WeatherForecast/city -H 'Content-Type: application/json' -d '{"city":"New York","location":"Downtown"}'"#;

/// The largest body, in bytes: names of the greatest length, each character escaped, take half of it.
const MAX_BODY: usize = 8 * 1024;

/// The weather's routes.
pub fn routes(calls: Calls) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(city))
        .routes(routes!(forecast))
        .routes(routes!(health))
        .with_state(calls)
}

/// The weather in a city now
///
/// The request goes through the broker to a worker, and its reply comes back to this call.
#[utoipa::path(
    post,
    path = "/WeatherForecast/city",
    tag = "weather",
    params(CallHeaders),
    request_body(content = CityRequest, content_type = "application/json", example = json!({"city": "New York", "location": "Downtown"})),
    responses(
        (
            status = 200,
            description = "The weather",
            body = CurrentWeather,
            headers(
                ("X-Request-Id" = String, description = "Your id, or the request's own where you sent none"),
                ("Preference-Applied" = String, description = "What was used of Prefer"),
                ("Idempotency-Replayed" = bool, description = "Present when another call with this key made the request"),
            ),
        ),
        Promised,
        ReadErrors,
        RoundTripErrors,
    ),
)]
async fn city(
    State(calls): State<Calls>,
    Extension(id): Extension<RequestId>,
    _: NoParameters,
    call: RequestOptions,
    request: Request,
) -> Result<Response, Problem> {
    let query = validate(calls.read_body(id, request, MAX_BODY).await?)?;
    Ok(calls.answer(id, "POST /WeatherForecast/city", &call, &query).await)
}

/// Takes the body: only the question is kept while the answer is awaited.
fn validate(body: JsonBody) -> Result<WeatherQuery, Problem> {
    WeatherQuery::for_now(body.bytes()).map_err(|error| match error {
        QueryError::Unreadable(detail) => Problem::new(ProblemType::MalformedBody, detail),
        QueryError::Invalid(errors) => Problem::validation(errors),
    })
}

/// The forecast for some days
///
/// Goes through the broker to a worker as well.
#[utoipa::path(
    get,
    path = "/WeatherForecast",
    tag = "weather",
    params(CallHeaders, ForecastParameters),
    responses((status = 200, description = "One entry a day, today first", body = Vec<DailyForecast>), Promised, RoundTripErrors),
)]
async fn forecast(
    State(calls): State<Calls>,
    Extension(id): Extension<RequestId>,
    call: RequestOptions,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let query = WeatherQuery::forecast(&parameters)?;
    Ok(calls.answer(id, "GET /WeatherForecast", &call, &query).await)
}

/// The condition of this service, under the name its predecessor used
#[utoipa::path(
    get,
    path = "/WeatherForecast/health",
    tag = "weather",
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
async fn health(State(calls): State<Calls>) -> HealthReport {
    HealthReport::of(&calls.health, calls.requester.pending.len())
}
