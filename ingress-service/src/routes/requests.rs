//! Requests that can be asked for again: as they are, their results, their events, and their end.

mod events;
mod parameters;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use roundtrip::broker::{CancelOutcome, Record, RecordPage, Status};
use roundtrip::http::page::{Page, PageSize};
use roundtrip::http::parameters::{NoParameters, Parameters};
use roundtrip::http::problem::{Asked, FieldError, Problem, ProblemDocument, ProblemType};
use roundtrip::{CorrelationId, Tenant};
use tokio::time::Instant;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::documents::{RequestList, RequestStatus};
use crate::metrics::cancel_outcome;
use crate::request_options::{PREFERENCE_APPLIED, Preference, Wait};
use crate::response;
use crate::transport::Transport;
use parameters::{ListParameters, RequestIdParameter, WaitHeader};

const PROBLEM: &str = "application/problem+json";

/// When to ask again for what has not ended.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The routes.
pub(crate) fn router(transport: Arc<Transport>) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show, cancel))
        .routes(routes!(result))
        .routes(routes!(events::events))
        .with_state(transport)
}

/// How a request is doing
///
/// For requests that were answered 202, that timed out (504 with a Location), or that had an Idempotency-Key. Every
/// instance answers. With `Prefer: wait=N` the call waits up to N seconds for the request's end.
#[utoipa::path(
    get,
    path = "/requests/{id}",
    tag = "requests",
    params(RequestIdParameter, WaitHeader),
    responses(
        (status = 200, description = "How it is doing, with its result where it has one", body = RequestStatus,
         headers(("Retry-After" = u64, description = "When to ask again, in seconds, while it has not ended"),
                 ("Preference-Applied" = String, description = "What was used of Prefer")),
         example = json!({
             "id": "01937f5e-8b7a-7c3e-9d2f-4a5b6c7d8e9f", "operation": "weather", "status": "succeeded",
             "createdAt": "2026-11-21T09:30:00.123Z", "startedAt": "2026-11-21T09:30:00.130Z",
             "finishedAt": "2026-11-21T09:30:00.456Z", "expiresAt": "2026-11-22T09:30:00.456Z", "attempts": 1,
             "result": {"temperature": 8.4},
             "links": {
                 "self": "/requests/01937f5e-8b7a-7c3e-9d2f-4a5b6c7d8e9f",
                 "result": "/requests/01937f5e-8b7a-7c3e-9d2f-4a5b6c7d8e9f/result",
                 "events": "/requests/01937f5e-8b7a-7c3e-9d2f-4a5b6c7d8e9f/events",
             },
         })),
        (status = 400, description = "There is a query parameter (`bad-request`)", body = ProblemDocument, content_type = PROBLEM),
        (status = 404, description = "No request of this id is known (`unknown-request`)", body = ProblemDocument, content_type = PROBLEM),
        (status = 503, description = "The broker is away (`broker-unavailable`)", body = ProblemDocument, content_type = PROBLEM),
    ),
)]
async fn show(
    State(transport): State<Arc<Transport>>,
    _: NoParameters,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (record, preference) = find(&transport, id, &headers).await?;
    let mut response = Json(RequestStatus::of(&record)).into_response();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if !record.status.is_final() {
        headers.insert(RETRY_AFTER, response::seconds(ASK_AGAIN));
    }
    if let Some(applied) = preference.applied() {
        headers.insert(PREFERENCE_APPLIED, applied);
    }
    Ok(response)
}

/// A request's result
///
/// Byte by byte what its caller would have got who had waited: the same body, status and media type. With `Prefer:
/// wait=N` the call waits up to N seconds for it.
#[utoipa::path(
    get,
    path = "/requests/{id}/result",
    tag = "requests",
    params(RequestIdParameter, WaitHeader),
    responses(
        (status = 200, description = "The result", body = serde_json::Value),
        (status = 400, description = "There is a query parameter (`bad-request`)", body = ProblemDocument, content_type = PROBLEM),
        (status = 404, description = "No request of this id is known (`unknown-request`); or what the request asked for does not exist (`not-found`)", body = ProblemDocument, content_type = PROBLEM),
        (status = 409, description = "It has not ended yet (`not-finished`), or it was cancelled (`cancelled`)", body = ProblemDocument, content_type = PROBLEM,
         headers(("Retry-After" = u64, description = "When to ask again, in seconds"))),
        (status = 500, description = "The request failed (`internal`, `dead-lettered`, `result-too-large`); any other status that the call itself can have", body = ProblemDocument, content_type = PROBLEM),
        (status = 503, description = "The broker is away (`broker-unavailable`)", body = ProblemDocument, content_type = PROBLEM),
    ),
)]
async fn result(
    State(transport): State<Arc<Transport>>,
    _: NoParameters,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (record, preference) = find(&transport, id, &headers).await?;
    let mut response = match record.outcome.clone() {
        Some(outcome) => response::result(record.id, outcome, record.has_key),
        None => {
            let detail = "the request has not ended yet; ask again later, or with Prefer: wait=N";
            let problem = Problem::new(ProblemType::NotFinished, detail).of(record.id);
            problem.retry_after(ASK_AGAIN).into_response()
        }
    };
    if let Some(applied) = preference.applied() {
        response.headers_mut().insert(PREFERENCE_APPLIED, applied);
    }
    Ok(response)
}

/// Requests that are kept
///
/// Newest first, in pages, without their results.
#[utoipa::path(
    get,
    path = "/requests",
    tag = "requests",
    params(ListParameters, PageSize),
    responses(
        (status = 200, description = "A page", body = RequestList),
        (status = 400, description = "A parameter is there twice, unknown, or no UTF-8 (`bad-request`)", body = ProblemDocument, content_type = PROBLEM),
        (status = 422, description = "A parameter is not accepted (`validation-failed`)", body = ProblemDocument, content_type = PROBLEM),
        (status = 503, description = "The broker is away (`broker-unavailable`)", body = ProblemDocument, content_type = PROBLEM),
    ),
)]
async fn list(
    State(transport): State<Arc<Transport>>,
    tenant: Option<Extension<Tenant>>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let tenant = tenant.map(|Extension(tenant)| tenant).unwrap_or_default();
    let (status, page) = page(&parameters)?;
    let wanted = RecordPage {
        tenant: &tenant,
        status,
        before: page.before,
        max: page.wanted(),
    };
    let records = transport.records.list(&wanted).await;
    let mut records = records.map_err(|error| Problem::of_broker(&error, Asked::ToRead))?;
    let next = page.cut(&mut records).map(|record| record.id);
    let list = RequestList::of(&records, next);
    Ok(([(CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(list)).into_response())
}

/// Ends a request
///
/// What waits never starts (200). What is at work is told (202), and ends within CANCEL_GRACE, or has its result before
/// that. What has ended stays as it is (409); cancelling again what was cancelled is fine.
#[utoipa::path(
    delete,
    path = "/requests/{id}",
    tag = "requests",
    params(RequestIdParameter),
    responses(
        (status = 200, description = "It was cancelled, and will not run", body = RequestStatus,
         example = json!({
             "id": "01937f5e-8b7a-7c3e-9d2f-4a5b6c7d8e9f", "operation": "weather", "status": "cancelled",
             "createdAt": "2026-11-21T09:30:00.123Z", "finishedAt": "2026-11-21T09:30:01.456Z",
             "expiresAt": "2026-11-22T09:30:01.456Z", "attempts": 0,
             "links": {
                 "self": "/requests/01937f5e-8b7a-7c3e-9d2f-4a5b6c7d8e9f",
                 "result": "/requests/01937f5e-8b7a-7c3e-9d2f-4a5b6c7d8e9f/result",
                 "events": "/requests/01937f5e-8b7a-7c3e-9d2f-4a5b6c7d8e9f/events",
             },
         })),
        (status = 202, description = "It is at work, and was told to end", body = RequestStatus,
         headers(("Location" = String, description = "Where to see how it ends")),
         example = json!({
             "id": "01937f5e-8b7a-7c3e-9d2f-4a5b6c7d8e9f", "operation": "weather", "status": "processing",
             "createdAt": "2026-11-21T09:30:00.123Z", "startedAt": "2026-11-21T09:30:00.130Z",
             "expiresAt": "2026-11-22T09:30:00.123Z", "attempts": 1, "cancelRequested": true,
             "links": {
                 "self": "/requests/01937f5e-8b7a-7c3e-9d2f-4a5b6c7d8e9f",
                 "result": "/requests/01937f5e-8b7a-7c3e-9d2f-4a5b6c7d8e9f/result",
                 "events": "/requests/01937f5e-8b7a-7c3e-9d2f-4a5b6c7d8e9f/events",
             },
         })),
        (status = 400, description = "There is a query parameter (`bad-request`)", body = ProblemDocument, content_type = PROBLEM),
        (status = 404, description = "No request of this id is known (`unknown-request`)", body = ProblemDocument, content_type = PROBLEM),
        (status = 409, description = "It has ended already (`already-finished`)", body = ProblemDocument, content_type = PROBLEM),
        (status = 503, description = "The broker is away (`broker-unavailable`)", body = ProblemDocument, content_type = PROBLEM),
        (status = 504, description = "The broker did not confirm in time (`outcome-unknown`): look at the request to see what happened", body = ProblemDocument, content_type = PROBLEM),
    ),
)]
async fn cancel(
    State(transport): State<Arc<Transport>>,
    _: NoParameters,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let id = parse(id)?;
    let cancelled = transport.records.cancel(id, None).await;
    let cancelled = cancelled.map_err(|error| Problem::of_broker(&error, Asked::ToChange))?;
    transport.metrics.count_cancelled(cancelled);
    let status = match cancelled {
        CancelOutcome::Cancelled | CancelOutcome::AlreadyFinished(Status::Cancelled) => StatusCode::OK,
        CancelOutcome::Requested => StatusCode::ACCEPTED,
        CancelOutcome::Unknown => return Err(unknown()),
        CancelOutcome::AlreadyFinished(status) => {
            let detail = format!("the request has ended before: {status}; its result stays");
            return Err(Problem::new(ProblemType::AlreadyFinished, detail).of(id));
        }
    };
    tracing::info!(request_id = %id, outcome = cancel_outcome(cancelled), "a request was cancelled");
    let record = transport
        .watches
        .read(id)
        .await
        .map_err(|error| Problem::of_broker(&error, Asked::ToRead))?;
    let record = record.ok_or_else(unknown)?;
    let mut response = (status, Json(RequestStatus::of(&record))).into_response();
    if status == StatusCode::ACCEPTED {
        let headers = response.headers_mut();
        headers.insert(axum::http::header::LOCATION, response::location(id));
    }
    Ok(response)
}

/// A record, after the wait that its caller prefers, where there is a place to wait; and what was used of that.
async fn find(
    transport: &Transport,
    id: Result<Path<String>, PathRejection>,
    headers: &HeaderMap,
) -> Result<(Arc<Record>, Preference), Problem> {
    let (id, preference) = (parse(id)?, Preference::of(headers));
    let place = match preference.wait() {
        Wait::UpTo(patience) => transport.wait_limits.waits.take().map(|place| (place, patience)),
        Wait::ForAnswer | Wait::Not => None,
    };
    let patience = place.as_ref().map_or(Duration::ZERO, |(_, patience)| *patience);
    let record = transport
        .end_of(id, Instant::now() + patience, Wait::UpTo(patience))
        .await?;
    // A wait that found no place was not used.
    let used = match (preference.wait(), place) {
        (Wait::UpTo(_), None) => Preference::default(),
        _ => preference,
    };
    Ok((record.ok_or_else(unknown)?, used))
}

/// What is no id at all is as unknown as any other: nobody learns from it what ids look like.
fn parse(id: Result<Path<String>, PathRejection>) -> Result<CorrelationId, Problem> {
    let id = id.ok().and_then(|Path(id)| CorrelationId::parse(id.as_bytes()));
    id.ok_or_else(unknown)
}

fn unknown() -> Problem {
    Problem::new(ProblemType::UnknownRequest, "no request of this id is known")
}

fn page(parameters: &Parameters) -> Result<(Option<Status>, Page<CorrelationId>), Problem> {
    let [status, limit, cursor] = parameters.read(["status", "limit", "cursor"])?;
    let mut errors = Vec::new();
    let status = status.map(|text| Status::parse(text.as_bytes()));
    if status == Some(None) {
        let expected = "queued, processing, succeeded, failed, expired or cancelled is expected";
        errors.push(FieldError::in_query("status", expected));
    }
    let id = |text: &str| CorrelationId::parse(text.as_bytes());
    let page = Page::read(limit, [("cursor", cursor)], id, &mut errors);
    match errors.is_empty() {
        true => Ok((status.flatten(), page)),
        false => Err(Problem::validation(errors)),
    }
}
