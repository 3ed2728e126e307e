//! The weather: validated here, answered by a worker.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use proxy_service::operations::weather::contract::{CurrentWeather, DailyForecast};
use proxy_service::operations::weather::query::{CityRequest, ForecastParameters, QueryError, WeatherQuery};
use roundtrip::http::parameters::{NoParameters, Parameters};
use roundtrip::http::probes::HealthReport;
use roundtrip::http::problem::{Problem, ProblemType};
use roundtrip::http::request_id::RequestId;
use roundtrip::observe::health::Health;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::json_body::{Bodies, JsonBody};
use crate::openapi::{CallHeaders, Promised, ReadErrors, RoundTripErrors};
use crate::request_options::RequestOptions;
use crate::requester::{Ask, Requester};
use crate::response;

/// What the routes of this module need.
#[derive(Debug, Clone)]
pub struct WeatherState {
    /// Sends requests to the workers.
    pub requester: Arc<Requester>,
    /// The condition of this process.
    pub health: Health,
    /// Reads bodies.
    pub bodies: Bodies,
}

/// The largest body, in bytes: names of the greatest length, each character escaped, take half of it.
const MAX_BODY: usize = 8 * 1024;

/// The weather's routes.
pub fn router(state: WeatherState) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(city))
        .routes(routes!(forecast))
        .routes(routes!(health))
        .with_state(state)
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
    State(state): State<WeatherState>,
    Extension(id): Extension<RequestId>,
    _: NoParameters,
    call: RequestOptions,
    request: Request,
) -> Result<Response, Problem> {
    state.requester.check_room(id.0)?;
    let query = validate(state.bodies.read(request, MAX_BODY).await?)?;
    Ok(answer(&state, id, "POST /WeatherForecast/city", &call, &query).await)
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
    State(state): State<WeatherState>,
    Extension(id): Extension<RequestId>,
    call: RequestOptions,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let query = WeatherQuery::forecast(&parameters)?;
    Ok(answer(&state, id, "GET /WeatherForecast", &call, &query).await)
}

async fn answer(
    state: &WeatherState,
    id: RequestId,
    route: &'static str,
    call: &RequestOptions,
    query: &WeatherQuery,
) -> Response {
    let ask = Ask {
        id: id.0,
        route,
        data: query.to_json().into(),
        call,
    };
    let answered = state.requester.request(ask).await;
    response::response(answered, call, state.requester.ask_again())
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
             "terminals": 0,
         })),
    ),
)]
async fn health(State(state): State<WeatherState>) -> HealthReport {
    HealthReport::of(&state.health, state.requester.pending.len())
}
