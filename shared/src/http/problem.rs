//! Problem documents ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)): the one place where a cause
//! becomes a status. A handler returns a [`Problem`]; it is written out around the routes, with the
//! request's id, and gives the same form to every error that the framework itself answered.

use std::borrow::Cow;
use std::time::Duration;

use axum::Json;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::request_id::RequestId;
use crate::message::{CorrelationId, Fault, FaultCode};
pub use broker::{Asked, RETRY_AFTER as BROKER_RETRY_AFTER};
pub use kinds::{Explanation, ProblemType};

mod broker;
pub(super) mod kinds;

/// The media type of every error body.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// One value that is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Where the value is in the body, as a JSON pointer (RFC 6901).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/text")]
    pub pointer: Option<Cow<'static, str>>,
    /// The query parameter, for values in the URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<Cow<'static, str>>,
    /// What is wrong, and what is accepted.
    #[schema(example = "must not be blank")]
    pub detail: String,
}

impl FieldError {
    /// An error in the body.
    pub fn at(pointer: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self {
            pointer: Some(pointer.into()),
            parameter: None,
            detail: detail.into(),
        }
    }

    /// An error in the query string.
    pub fn in_query(parameter: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self {
            pointer: None,
            parameter: Some(parameter.into()),
            detail: detail.into(),
        }
    }
}

/// Why a request was not answered with what it asked for.
#[derive(Debug, Clone)]
pub struct Problem {
    kind: ProblemType,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    retry_after: Option<Duration>,
    dead_letter: Option<String>,
    /// The request it is about, where that is not the call's own.
    request: Option<CorrelationId>,
    has_location: bool,
    is_for_good: bool,
}

impl Problem {
    /// A problem; `detail` says in a sentence what happened to this request.
    pub fn new(kind: ProblemType, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
            dead_letter: None,
            request: None,
            has_location: false,
            is_for_good: false,
        }
    }

    /// Values that are not accepted, all of them at once.
    #[must_use]
    pub fn validation(errors: Vec<FieldError>) -> Self {
        let detail = "at least one value is not accepted; see errors";
        Self::new(ProblemType::ValidationFailed, detail).with_errors(errors)
    }

    /// The same problem with the values that it is about.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.errors = errors;
        self
    }

    /// The same problem with a Retry-After header, in whole seconds, at least one.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// The same problem of that request, whichever call asks for it.
    #[must_use]
    pub fn of(mut self, request: CorrelationId) -> Self {
        self.request = Some(request);
        self
    }

    /// The same problem of a request that can be asked for: Location says where.
    #[must_use]
    pub fn at(mut self, request: CorrelationId) -> Self {
        self.has_location = true;
        self.of(request)
    }

    /// The same problem as the answer to every call with its Idempotency-Key: those will not go better.
    #[must_use]
    pub fn for_good(mut self) -> Self {
        if self.kind.kind().retryable {
            self.is_for_good = true;
            self.retry_after = None;
            let detail = format!(
                "{}; its Idempotency-Key stands for this outcome: try again with another one",
                self.detail
            );
            self.detail = detail.into();
        }
        self
    }

    /// The document, for a problem that says whose it is.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let request = self.request.map(|id| id.to_string()).unwrap_or_default();
        serde_json::to_vec(&self.document(request)).expect("a problem has only text, numbers and lists")
    }

    /// What happened to this request, in a sentence.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// What kind of problem this is.
    #[must_use]
    pub fn kind(&self) -> ProblemType {
        self.kind
    }

    fn document(&self, request_id: String) -> ProblemDocument {
        let kind = self.kind.kind();
        ProblemDocument {
            kind: kind.uri.into(),
            title: kind.title.into(),
            status: kind.status.as_u16(),
            detail: self.detail.clone(),
            request_id,
            retryable: kind.retryable && !self.is_for_good,
            errors: self.errors.clone(),
            dead_letter: self.dead_letter.clone(),
        }
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        let kind = match fault.code {
            FaultCode::Invalid => ProblemType::ValidationFailed,
            FaultCode::NotFound => ProblemType::NotFound,
            FaultCode::Expired => ProblemType::Expired,
            FaultCode::UpstreamFailed => ProblemType::UpstreamFailed,
            FaultCode::UpstreamRefused => ProblemType::UpstreamRefused,
            FaultCode::UpstreamTimeout => ProblemType::UpstreamTimeout,
            FaultCode::UpstreamUnavailable => ProblemType::UpstreamUnavailable,
            FaultCode::DeadLettered => ProblemType::DeadLettered,
            FaultCode::Cancelled => ProblemType::Cancelled,
            FaultCode::ResultTooLarge => ProblemType::ResultTooLarge,
            FaultCode::Internal => ProblemType::Internal,
        };
        let mut problem = Self::new(kind, fault.detail);
        problem.retry_after = fault.retry_after_ms.map(Duration::from_millis);
        problem.dead_letter = fault.dead_letter;
        problem
    }
}

impl IntoResponse for Problem {
    /// The status, and the problem to be written out where the request's id is known.
    fn into_response(self) -> Response {
        let mut response = self.kind.status().into_response();
        if let Some(delay) = self.retry_after {
            let seconds = delay.as_millis().div_ceil(1000).max(1);
            let value = HeaderValue::try_from(seconds.to_string()).expect("digits are a header value");
            response.headers_mut().insert(RETRY_AFTER, value);
        }
        if let Some(request) = self.request.filter(|_| self.has_location) {
            let value = HeaderValue::try_from(format!("/requests/{request}")).expect("a UUID is a header value");
            response.headers_mut().insert(LOCATION, value);
        }
        if self.kind == ProblemType::UnsupportedContentEncoding {
            // https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3
            let headers = response.headers_mut();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// The body of every error.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Problem)]
pub struct ProblemDocument {
    /// The kind of problem; a path that explains it.
    #[serde(rename = "type")]
    #[schema(example = "/problems/validation-failed")]
    kind: Cow<'static, str>,
    /// The kind in a few words.
    #[schema(example = "The request is not valid")]
    title: Cow<'static, str>,
    /// The HTTP status.
    #[schema(example = 422)]
    status: u16,
    /// What happened to this request.
    #[schema(example = "at least one value is not accepted; see errors")]
    detail: Cow<'static, str>,
    /// The id under which the logs know this request.
    #[schema(format = Uuid, example = "01937f5e-8b7a-7c3e-9d2f-4a5b6c7d8e9f")]
    request_id: String,
    /// Whether the same request may succeed later.
    retryable: bool,
    /// The values that are not accepted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    /// The id of the dead letter that the request became, for operators.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "1763687432117-0")]
    dead_letter: Option<String>,
}

/// Writes a problem out, also for errors that no handler of ours answered: unknown paths, wrong methods,
/// bodies over the limit. Other responses pass unchanged.
pub(super) fn write_out(mut response: Response, request_id: RequestId) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        // A health report explains itself.
        None if is_json(&response) => return response,
        None => unexplained(status),
    };
    let request_id = problem
        .request
        .map_or_else(|| request_id.to_string(), |request| request.to_string());
    let body = Json(problem.document(request_id)).into_response().into_body();
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    Response::from_parts(parts, body)
}

fn is_json(response: &Response) -> bool {
    let media_type = response.headers().get(CONTENT_TYPE);
    media_type.is_some_and(|value| value.as_bytes().starts_with(b"application/"))
}

fn unexplained(status: StatusCode) -> Problem {
    let kind = ProblemType::of_status(status);
    let detail = match kind {
        ProblemType::RouteNotFound => "no route has this path; /swagger lists those there are",
        ProblemType::MethodNotAllowed => "the Allow header lists the methods of this path",
        ProblemType::BodyTooLarge => "the body is larger than this service accepts",
        _ => kind.kind().title,
    };
    Problem::new(kind, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_in_whole_seconds_and_never_zero() {
        for (delay, seconds) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2")] {
            let problem = Problem::new(ProblemType::Overloaded, "").retry_after(Duration::from_millis(delay));
            assert_eq!(problem.into_response().headers()[RETRY_AFTER], seconds);
        }
    }
}
