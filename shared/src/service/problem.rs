//! Problem documents ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)): the one place where a cause
//! becomes a status. A handler returns a [`Problem`]; it is written out around the routes, with the
//! request's id, and gives the same form to every error that the framework itself answered.

use std::borrow::Cow;
use std::time::Duration;

use axum::Json;
use axum::extract::Path;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::request_id::RequestId;
use crate::message::{Fault, FaultCode};

/// The media type of every error body.
pub const MEDIA_TYPE: &str = "application/problem+json";

macro_rules! problem_types {
    ($($(#[doc = $doc:literal])+ $name:ident = $status:ident, $slug:literal, $title:literal, retryable: $retryable:literal;)+) => {
        /// The kinds of problems. Each has a stable `type`, under which both services explain it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ProblemType {
            $($(#[doc = $doc])+ $name,)+
        }

        impl ProblemType {
            /// All kinds, in the order of their status.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            fn kind(self) -> Kind {
                match self {
                    $(Self::$name => Kind {
                        status: StatusCode::$status,
                        uri: concat!("/problems/", $slug),
                        title: $title,
                        retryable: $retryable,
                        meaning: concat!($($doc, "\n"),+),
                    },)+
                }
            }
        }
    };
}

struct Kind {
    status: StatusCode,
    uri: &'static str,
    title: &'static str,
    retryable: bool,
    meaning: &'static str,
}

problem_types! {
    /// The body is not readable JSON, or not UTF-8, or nested too deeply.
    MalformedBody = BAD_REQUEST, "malformed-body", "The body is not readable JSON", retryable: false;
    /// Any other request that HTTP itself does not allow.
    BadRequest = BAD_REQUEST, "bad-request", "The request is not understood", retryable: false;
    /// Nothing is served under this path.
    RouteNotFound = NOT_FOUND, "route-not-found", "There is nothing at this path", retryable: false;
    /// What was asked for does not exist, for example an unknown city.
    NotFound = NOT_FOUND, "not-found", "What was asked for does not exist", retryable: false;
    /// The path exists, but not for this method; the Allow header lists those it has.
    MethodNotAllowed = METHOD_NOT_ALLOWED, "method-not-allowed", "The method is not allowed here", retryable: false;
    /// The request took too long to arrive.
    RequestTimeout = REQUEST_TIMEOUT, "request-timeout", "The request did not arrive in time", retryable: true;
    /// The body is larger than MAX_BODY.
    BodyTooLarge = PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large", retryable: false;
    /// The body is not sent as application/json.
    UnsupportedMediaType = UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The media type is not supported", retryable: false;
    /// The body is JSON but its values are not accepted; `errors` lists every one of them.
    ValidationFailed = UNPROCESSABLE_ENTITY, "validation-failed", "The request is not valid", retryable: false;
    /// The header block is larger than 16 KiB.
    HeadersTooLarge = REQUEST_HEADER_FIELDS_TOO_LARGE, "headers-too-large", "The header block is too large", retryable: false;
    /// Something failed inside the service; the log has the request id.
    Internal = INTERNAL_SERVER_ERROR, "internal", "Something failed inside the service", retryable: false;
    /// The request was delivered and failed so often that it was set aside.
    DeadLettered = INTERNAL_SERVER_ERROR, "dead-lettered", "The request was set aside", retryable: false;
    /// The upstream answered with errors, at every attempt.
    UpstreamFailed = BAD_GATEWAY, "upstream-failed", "The upstream failed", retryable: true;
    /// MAX_IN_FLIGHT requests are in flight. This one was not accepted and will not run.
    Overloaded = SERVICE_UNAVAILABLE, "overloaded", "Too many requests are in flight", retryable: true;
    /// The broker is away. The request was not accepted and will not run.
    BrokerUnavailable = SERVICE_UNAVAILABLE, "broker-unavailable", "The broker is unavailable", retryable: true;
    /// The service is starting or draining; another instance serves.
    NotReady = SERVICE_UNAVAILABLE, "not-ready", "The service is starting or draining", retryable: true;
    /// The upstream is known to be unavailable; nothing was attempted.
    UpstreamUnavailable = SERVICE_UNAVAILABLE, "upstream-unavailable", "The upstream is unavailable", retryable: true;
    /// The connection to the broker failed while the request was handed over: it may run, or not.
    OutcomeUnknown = GATEWAY_TIMEOUT, "outcome-unknown", "It is unknown whether the request was accepted", retryable: true;
    /// No reply came within REQUEST_TIMEOUT. The request was accepted and may still run.
    ReplyTimeout = GATEWAY_TIMEOUT, "reply-timeout", "No reply came in time", retryable: true;
    /// The request's budget ran out while it waited or was worked on.
    Expired = GATEWAY_TIMEOUT, "expired", "The request's time ran out", retryable: true;
    /// The upstream did not answer in time, at every attempt.
    UpstreamTimeout = GATEWAY_TIMEOUT, "upstream-timeout", "The upstream did not answer in time", retryable: true;
}

impl ProblemType {
    /// The HTTP status that goes with it.
    #[must_use]
    pub fn status(self) -> StatusCode {
        self.kind().status
    }

    /// The `type` in the document, a path on this server.
    #[must_use]
    pub fn uri(self) -> &'static str {
        self.kind().uri
    }

    fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::RouteNotFound,
            StatusCode::METHOD_NOT_ALLOWED => Self::MethodNotAllowed,
            StatusCode::REQUEST_TIMEOUT => Self::RequestTimeout,
            StatusCode::PAYLOAD_TOO_LARGE => Self::BodyTooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::UnsupportedMediaType,
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Self::HeadersTooLarge,
            status if status.is_client_error() => Self::BadRequest,
            _ => Self::Internal,
        }
    }
}

/// One value that is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Where the value is in the body, as a JSON pointer (RFC 6901).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/city")]
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
}

impl Problem {
    /// A problem; `detail` says in a sentence what happened to this request.
    pub fn new(kind: ProblemType, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
        }
    }

    /// Values that are not accepted, all of them at once.
    #[must_use]
    pub fn validation(errors: Vec<FieldError>) -> Self {
        Self {
            errors,
            ..Self::new(
                ProblemType::ValidationFailed,
                "at least one value is not accepted; see errors",
            )
        }
    }

    /// The same problem with a Retry-After header, in whole seconds, at least one.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
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
            retryable: kind.retryable,
            errors: self.errors.clone(),
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
            FaultCode::UpstreamTimeout => ProblemType::UpstreamTimeout,
            FaultCode::UpstreamUnavailable => ProblemType::UpstreamUnavailable,
            FaultCode::DeadLettered => ProblemType::DeadLettered,
            FaultCode::Internal => ProblemType::Internal,
        };
        let mut problem = Self::new(kind, fault.detail);
        problem.retry_after = fault.retry_after_ms.map(Duration::from_millis);
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
    let body = Json(problem.document(request_id.to_string()))
        .into_response()
        .into_body();
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

/// What a problem's `type` leads to.
#[derive(Debug, Serialize, ToSchema)]
pub struct Explanation {
    /// The `type`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The kind in a few words.
    title: &'static str,
    /// The HTTP status that goes with it.
    status: u16,
    /// Whether the same request may succeed later.
    retryable: bool,
    /// What it means for the caller.
    meaning: String,
}

/// Explains a kind of problem
#[utoipa::path(
    get,
    path = "/problems/{name}",
    tag = "problems",
    params(("name" = String, Path, description = "The last part of a problem's type", example = "overloaded")),
    responses(
        (status = 200, description = "What the kind of problem means", body = Explanation),
        (status = 404, description = "No kind of problem has this name", body = ProblemDocument, content_type = MEDIA_TYPE),
    ),
)]
pub async fn explain(Path(name): Path<String>) -> Result<Json<Explanation>, Problem> {
    let kind = ProblemType::ALL
        .iter()
        .map(|kind| kind.kind())
        .find(|kind| kind.uri.strip_prefix("/problems/") == Some(name.as_str()));
    let kind = kind.ok_or_else(|| Problem::new(ProblemType::NotFound, "no kind of problem has this name"))?;
    Ok(Json(Explanation {
        kind: kind.uri,
        title: kind.title,
        status: kind.status.as_u16(),
        retryable: kind.retryable,
        meaning: kind.meaning.split_whitespace().collect::<Vec<_>>().join(" "),
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_kind_has_a_type_of_its_own() {
        let uris: HashSet<_> = ProblemType::ALL.iter().map(|kind| kind.uri()).collect();
        assert_eq!(uris.len(), ProblemType::ALL.len());
    }

    #[test]
    fn retry_after_is_in_whole_seconds_and_never_zero() {
        for (delay, seconds) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2")] {
            let problem = Problem::new(ProblemType::Overloaded, "").retry_after(Duration::from_millis(delay));
            assert_eq!(problem.into_response().headers()[RETRY_AFTER], seconds);
        }
    }

    #[tokio::test]
    async fn every_type_can_be_looked_up() {
        for kind in ProblemType::ALL {
            let name = kind.uri().strip_prefix("/problems/").unwrap().to_owned();
            assert_eq!(explain(Path(name)).await.unwrap().0.kind, kind.uri());
        }
    }
}
