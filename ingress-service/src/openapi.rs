//! What the OpenAPI document says besides its routes.

use roundtrip::service::problem::ProblemDocument;
use utoipa::{IntoParams, IntoResponses, OpenApi};

use crate::routes::requests::RequestStatus;

/// The document's frame.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Roundtrip ingress-service",
        description = "A durable request/reply queue between this API and a slow or fragile backend: each request is \
                       written to a stream, worked on by one of many bounded workers, and answered here.\n\n\
                       Every error is an RFC 9457 problem document (`application/problem+json`). After a 503 the \
                       request was not accepted and will not run; after a 504 it may have run, or still run.\n\n\
                       A caller who does not want to wait says so with `Prefer`, and is promised the result under \
                       `/requests/{id}`; an `Idempotency-Key` makes a call that is sent twice one request.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    tags(
        (name = "weather", description = "The operation"),
        (name = "requests", description = "Requests that can be asked for again"),
        (name = "operation", description = "Health and metrics"),
        (name = "problems", description = "What a problem's type means"),
    ),
)]
pub struct Document;

/// What a caller may wish for a call.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code)] // Only its description is used.
pub struct CallHeaders {
    /// `wait=N`: wait up to N seconds (0 to 120), then be promised the result; `respond-async`: do not wait; else ignored (RFC 7240)
    #[param(rename = "Prefer", value_type = String, required = false, example = "wait=10")]
    prefer: Option<String>,
    /// How long the work may go on, in seconds, up to a day; what is none of these is refused with 400
    #[param(rename = "Request-Timeout", value_type = u64, required = false, minimum = 1, maximum = 86400, example = 300)]
    request_timeout: Option<u64>,
    /// The same key with the same content is the same request: 1 to 255 visible ASCII characters, bare or as a quoted string
    #[param(
        rename = "Idempotency-Key",
        value_type = String,
        required = false,
        pattern = r#"^([!#-~]([!-~]{0,253}[!#-~])?|"([ !#-\[\]-~]|\\["\\]){1,255}")$"#,
        min_length = 1,
        max_length = 512,
        example = "\"order-4711\""
    )]
    idempotency_key: Option<String>,
    /// Your own id of this call, echoed and logged where it has 1 to 128 visible ASCII characters, and otherwise ignored
    #[param(rename = "X-Request-Id", value_type = String, required = false)]
    x_request_id: Option<String>,
    /// The trace this call belongs to (W3C Trace Context); what is malformed, or there twice, is ignored
    #[param(value_type = String, required = false, example = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]
    traceparent: Option<String>,
}

/// What a caller gets who does not wait to the end.
#[derive(IntoResponses)]
#[allow(dead_code)] // Only its description is used.
pub enum Promised {
    /// Accepted and not done yet: the result can be asked for at Location
    #[response(
        status = 202,
        headers(
            ("Location" = String, description = "Where to ask, on any instance: /requests/{id}"),
            ("Retry-After" = u64, description = "When to ask first, in seconds"),
            ("Preference-Applied" = String, description = "What was used of Prefer"),
        )
    )]
    Accepted(RequestStatus),
    /// The Idempotency-Key is none, Request-Timeout is no number from 1 to 86400, or a parameter is there twice or no UTF-8
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(ProblemDocument),
    /// Somebody cancelled the request
    #[response(status = 409, content_type = "application/problem+json")]
    Cancelled(ProblemDocument),
}

/// What can go wrong with a body.
#[derive(IntoResponses)]
#[allow(dead_code)] // Only its description is used.
pub enum ReadErrors {
    /// The body is empty, not readable JSON, not UTF-8, too deep, or has a member twice; or a header that is ours is not readable
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(ProblemDocument),
    /// The body did not arrive within ten seconds
    #[response(status = 408, content_type = "application/problem+json")]
    Late(ProblemDocument),
    /// The body is larger than this route takes, or than MAX_BODY
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(ProblemDocument),
    /// The body is not sent as application/json, or is encoded
    #[response(
        status = 415,
        content_type = "application/problem+json",
        headers(("Accept-Encoding" = Option<String>, description = "Which encoding is accepted, where the body's is not"))
    )]
    MediaType(ProblemDocument),
}

/// What can go wrong on the way to a worker and back.
#[derive(IntoResponses)]
#[allow(dead_code)] // Only its description is used.
pub enum RoundTripErrors {
    /// The city is not known
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(ProblemDocument),
    /// At least one value is not accepted, `errors` lists all of them; or the Idempotency-Key was used for other content
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(ProblemDocument),
    /// Request line and headers have more than 16 KiB
    #[response(status = 431, content_type = "application/problem+json")]
    Headers(ProblemDocument),
    /// The worker failed on this request, or it was set aside after failing too often
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(ProblemDocument),
    /// The upstream failed at every attempt
    #[response(status = 502, content_type = "application/problem+json")]
    Upstream(ProblemDocument),
    /// Not accepted, and will not run: too many requests in flight or waiting, the broker is away, or the upstream is known to be unavailable
    #[response(
        status = 503,
        content_type = "application/problem+json",
        headers(
            ("Retry-After" = u64, description = "When to try again, in seconds"),
            ("Location" = Option<String>, description = "Where to ask for the request that the Idempotency-Key names, which another call made and which goes on"),
        )
    )]
    Unavailable(ProblemDocument),
    /// No reply in time, or no confirmation from the broker: the request may have run, or still run
    #[response(
        status = 504,
        content_type = "application/problem+json",
        headers(("Location" = Option<String>, description = "Where to ask what became of it, where that can be asked"))
    )]
    Timeout(ProblemDocument),
}
