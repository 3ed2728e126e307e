//! The kinds of problems: a table, and the route that explains it.

use axum::Json;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{FieldError, MEDIA_TYPE, Problem, ProblemDocument};

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

            pub(super) fn kind(self) -> Kind {
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

pub(super) struct Kind {
    pub(super) status: StatusCode,
    pub(super) uri: &'static str,
    pub(super) title: &'static str,
    pub(super) retryable: bool,
    meaning: &'static str,
}

problem_types! {
    /// The body is not readable JSON, or not UTF-8, or nested too deeply.
    MalformedBody = BAD_REQUEST, "malformed-body", "The body is not readable JSON", retryable: false;
    /// The Idempotency-Key is none: 1 to 255 visible ASCII characters are expected, bare or as a quoted string.
    MalformedIdempotencyKey = BAD_REQUEST, "malformed-idempotency-key", "The Idempotency-Key is not readable", retryable: false;
    /// Any other request that HTTP itself does not allow.
    BadRequest = BAD_REQUEST, "bad-request", "The request is not understood", retryable: false;
    /// The path is for those who send the operator's token: `Authorization: Bearer` and the value of ADMIN_TOKEN.
    Unauthorized = UNAUTHORIZED, "unauthorized", "The operator's token is needed", retryable: false;
    /// No request of this id is known: it never was, nothing was kept of it, or its time (RESULT_TTL) is over.
    UnknownRequest = NOT_FOUND, "unknown-request", "No request of this id is known", retryable: false;
    /// Nothing is served under this path.
    RouteNotFound = NOT_FOUND, "route-not-found", "There is nothing at this path", retryable: false;
    /// A worker looked for what was asked for, and it does not exist.
    NotFound = NOT_FOUND, "not-found", "What was asked for does not exist", retryable: false;
    /// The path exists, but not for this method; the Allow header lists those it has.
    MethodNotAllowed = METHOD_NOT_ALLOWED, "method-not-allowed", "The method is not allowed here", retryable: false;
    /// The request took too long to arrive.
    RequestTimeout = REQUEST_TIMEOUT, "request-timeout", "The request did not arrive in time", retryable: true;
    /// The dead letter holds no request, so there is nothing to put back into the stream.
    NotReplayable = CONFLICT, "not-replayable", "The dead letter holds no request", retryable: false;
    /// Somebody ended the request before it was done.
    Cancelled = CONFLICT, "cancelled", "The request was cancelled", retryable: false;
    /// The request has ended, so there is nothing to cancel; its result stays.
    AlreadyFinished = CONFLICT, "already-finished", "The request has ended already", retryable: false;
    /// The request has not ended yet, so there is no result. Retry-After says when to ask again.
    NotFinished = CONFLICT, "not-finished", "The request has not ended yet", retryable: true;
    /// The body is larger than its route takes, or than MAX_BODY.
    BodyTooLarge = PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large", retryable: false;
    /// The body is not sent as application/json.
    UnsupportedMediaType = UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The media type is not supported", retryable: false;
    /// The body is compressed or otherwise encoded (Content-Encoding); Accept-Encoding says what is accepted.
    UnsupportedContentEncoding = UNSUPPORTED_MEDIA_TYPE, "unsupported-content-encoding", "The content encoding is not supported", retryable: false;
    /// The body is JSON but its values are not accepted; `errors` lists every one of them.
    ValidationFailed = UNPROCESSABLE_ENTITY, "validation-failed", "The request is not valid", retryable: false;
    /// The Idempotency-Key was used for a request that asks for something else.
    IdempotencyKeyReused = UNPROCESSABLE_ENTITY, "idempotency-key-reused", "The Idempotency-Key belongs to another request", retryable: false;
    /// The header block is larger than 16 KiB.
    HeadersTooLarge = REQUEST_HEADER_FIELDS_TOO_LARGE, "headers-too-large", "The header block is too large", retryable: false;
    /// The body is sent in another transfer coding than chunked, the only one that is read.
    TransferCodingUnknown = NOT_IMPLEMENTED, "transfer-coding-unknown", "The transfer coding is not supported", retryable: false;
    /// Something failed inside the service; the log has the request id.
    Internal = INTERNAL_SERVER_ERROR, "internal", "Something failed inside the service", retryable: false;
    /// The request was delivered and failed so often that it was set aside.
    DeadLettered = INTERNAL_SERVER_ERROR, "dead-lettered", "The request was set aside", retryable: false;
    /// The work was done, and its result is larger than what is kept (MAX_RESULT).
    ResultTooLarge = INTERNAL_SERVER_ERROR, "result-too-large", "The result is too large to be kept", retryable: false;
    /// The upstream answered with errors, at every attempt.
    UpstreamFailed = BAD_GATEWAY, "upstream-failed", "The upstream failed", retryable: true;
    /// The upstream refused what the worker asked of it.
    UpstreamRefused = BAD_GATEWAY, "upstream-refused", "The upstream refused", retryable: false;
    /// MAX_CONNECTIONS connections are open. This one was closed, and nothing that was sent on it will run.
    TooManyConnections = SERVICE_UNAVAILABLE, "too-many-connections", "Too many connections are open", retryable: true;
    /// More requests are there than can be served in time: MAX_IN_FLIGHT are in flight, or the predicted wait
    /// is too long for this request's time, or the oldest waits for longer than MAX_QUEUE_AGE; or bodies that
    /// are being read take all of MAX_BODY_MEMORY. This one was not
    /// accepted and will not run. Jobs, whose callers do not wait to the end, are refused earlier (JOB_SHARE), so that those who
    /// wait find room. Or MAX_FOLLOWERS calls wait for requests of other calls; where this one's
    /// Idempotency-Key names a request, that one goes on, at Location. Retry-After is computed from how fast requests are being completed.
    Overloaded = SERVICE_UNAVAILABLE, "overloaded", "Too many requests are in flight or waiting", retryable: true;
    /// The broker is away. The request was not accepted and will not run.
    BrokerUnavailable = SERVICE_UNAVAILABLE, "broker-unavailable", "The broker is unavailable", retryable: true;
    /// The service is starting or draining; another instance serves.
    NotReady = SERVICE_UNAVAILABLE, "not-ready", "The service is starting or draining", retryable: true;
    /// The request was accepted, and a worker found its upstream known to be unavailable: nothing was attempted.
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

    /// The last part of its `type`.
    pub(crate) fn name(self) -> &'static str {
        self.uri().trim_start_matches("/problems/")
    }

    /// What it means for the caller.
    pub(crate) fn meaning(self) -> String {
        self.kind().meaning.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// A document of this kind as a caller may get it.
    pub(crate) fn example(self) -> ProblemDocument {
        let mut problem = Problem::new(self, self.meaning());
        match self {
            Self::ValidationFailed => problem = Problem::validation(vec![FieldError::at("/text", "must not be blank")]),
            Self::DeadLettered => problem.dead_letter = Some("1763687432117-0".to_owned()),
            _ => {}
        }
        problem.document("01937f5e-8b7a-7c3e-9d2f-4a5b6c7d8e9f".to_owned())
    }

    pub(super) fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::UNAUTHORIZED => Self::Unauthorized,
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
        (status = 404, description = "No kind of problem has this name (`not-found`)", body = ProblemDocument, content_type = MEDIA_TYPE),
    ),
)]
pub(crate) async fn explain(name: Result<Path<String>, PathRejection>) -> Result<Json<Explanation>, Problem> {
    // What is no text is no name either.
    let name = name.map(|Path(name)| name).unwrap_or_default();
    let found = ProblemType::ALL.iter().find(|kind| kind.name() == name);
    let found = found.ok_or_else(|| Problem::new(ProblemType::NotFound, "no kind of problem has this name"))?;
    let kind = found.kind();
    Ok(Json(Explanation {
        kind: kind.uri,
        title: kind.title,
        status: kind.status.as_u16(),
        retryable: kind.retryable,
        meaning: found.meaning(),
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

    #[tokio::test]
    async fn every_type_can_be_looked_up() {
        for kind in ProblemType::ALL {
            let name = kind.uri().strip_prefix("/problems/").unwrap().to_owned();
            assert_eq!(explain(Ok(Path(name))).await.unwrap().0.kind, kind.uri());
        }
    }
}
