//! An answer as HTTP: 200 with the result, 202 with where it will be, or a problem.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::http::header::{CONTENT_TYPE, HeaderName, LOCATION, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use roundtrip::broker::Record;
use roundtrip::http::problem::Problem;
use roundtrip::{CorrelationId, Fault, FaultCode, OperationName};

use crate::documents::RequestStatus;
use crate::problems;
use crate::request_options::{PREFERENCE_APPLIED, RequestOptions};
use crate::requester::Answer;

/// Says that the result is that of an earlier call with the same Idempotency-Key.
pub const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Writes an answer, or why there is none, with what was used of the caller's preferences.
pub(crate) fn response(
    answer: Result<Answer, Problem>,
    operation: OperationName,
    call: &RequestOptions,
    retry_after: Duration,
) -> Response {
    let mut response = match answer {
        Ok(Answer::Done {
            id,
            outcome,
            replayed,
            has_record,
            has_key,
        }) => {
            let mut response = match outcome {
                Err(fault) if has_record && fault.code == FaultCode::Expired => {
                    problems::of_fault(id, fault, has_key).at(id).into_response()
                }
                outcome => result(id, outcome, has_key),
            };
            if replayed {
                let headers = response.headers_mut();
                headers.insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
            }
            response
        }
        Ok(Answer::Promised { id, record, accepted }) => promise(id, operation, record.as_ref(), accepted, retry_after),
        Err(problem) => problem.into_response(),
    };
    if let Some(applied) = call.preference.applied() {
        response.headers_mut().insert(PREFERENCE_APPLIED, applied);
    }
    response
}

/// A request's result, the same whoever asks for it and whenever. `has_key` says that an idempotency key stands for it.
pub(crate) fn result(id: CorrelationId, outcome: Result<Bytes, Fault>, has_key: bool) -> Response {
    match outcome {
        Ok(json) => ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], json).into_response(),
        Err(fault) => problems::of_fault(id, fault, has_key).into_response(),
    }
}

fn promise(
    id: CorrelationId,
    operation: OperationName,
    record: Option<&Arc<Record>>,
    accepted: Option<u64>,
    retry_after: Duration,
) -> Response {
    let status = record.map_or_else(
        || RequestStatus::accepted(id, operation, accepted),
        |record| RequestStatus::of(record),
    );
    let mut response = (StatusCode::ACCEPTED, Json(status)).into_response();
    let headers = response.headers_mut();
    headers.insert(LOCATION, location(id));
    headers.insert(RETRY_AFTER, seconds(retry_after));
    response
}

/// Where a request can be asked for.
pub(crate) fn location(id: CorrelationId) -> HeaderValue {
    HeaderValue::try_from(format!("/requests/{id}")).expect("a UUID is a header value")
}

/// Whole seconds, at least one.
pub(crate) fn seconds(delay: Duration) -> HeaderValue {
    HeaderValue::from(u64::try_from(delay.as_millis().div_ceil(1000).max(1)).unwrap_or(u64::MAX))
}
