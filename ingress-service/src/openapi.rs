//! What the OpenAPI document says besides its routes.

use roundtrip::http::problem::ProblemDocument;
use utoipa::{IntoParams, IntoResponses, OpenApi};

use crate::documents::RequestStatus;

/// The document's frame.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Roundtrip ingress-service",
        description = "A durable request/reply queue between this API and a slow or fragile backend: each request is \
                       written to a stream, worked on by one of many bounded workers, and answered here.\n\n\
                       Every error is an RFC 9457 problem document (`application/problem+json`). After a 503 \
                       nothing was done for the call, and it can be sent again; after a 504 it may have run, or still run.\n\n\
                       A caller who does not want to wait says so with `Prefer`, and is promised the result under \
                       `/requests/{id}`; an `Idempotency-Key` makes a call that is sent twice one request.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    tags(
        (name = "weather", description = "The weather: answered by a worker behind the queue"),
        (name = "requests", description = "Requests answered with 202, or sent with an Idempotency-Key: status, result, events, cancellation"),
        (name = "operation", description = "Health, readiness and metrics of this instance"),
        (name = "problems", description = "Explanations of the types of problems"),
    ),
)]
pub struct Document;

/// What a caller may wish for a call.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code)] // Only its description is used.
pub struct CallHeaders {
    /// `wait=10`: wait up to 10 seconds (0 to 120), then get 202 and the result later; `respond-async`: do not wait; others are ignored (RFC 7240)
    #[param(rename = "Prefer", value_type = String, required = false)]
    prefer: Option<String>,
    /// How long the work may go on, in whole seconds, 1 to 86400; REQUEST_TIMEOUT, or JOB_TIMEOUT for a job, by default
    #[param(rename = "Request-Timeout", value_type = u64, required = false, minimum = 1, maximum = 86400)]
    request_timeout: Option<u64>,
    /// A name of your own for this request, such as `"order-4711"`: sent again with the same content it is the same request; 1 to 255 visible ASCII characters, bare or quoted
    #[param(
        rename = "Idempotency-Key",
        value_type = String,
        required = false,
        pattern = r#"^([!#-~]([!-~]{0,253}[!#-~])?|"([ !#-\[\]-~]|\\["\\]){1,255}")$"#,
        min_length = 1,
        max_length = 512
    )]
    idempotency_key: Option<String>,
    /// Your own id of this call, echoed and logged where it has 1 to 128 visible ASCII characters, and otherwise ignored
    #[param(rename = "X-Request-Id", value_type = String, required = false)]
    x_request_id: Option<String>,
    /// The trace this call belongs to (W3C Trace Context); what is malformed, or there twice, is ignored
    #[param(value_type = String, required = false)]
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
        ),
        example = json!({
             "id": "01937f5e-8b7a-7c3e-9d2f-4a5b6c7d8e9f", "operation": "weather", "status": "queued",
             "createdAt": "2026-11-21T09:30:00.123Z", "attempts": 0,
             "links": {
                 "self": "/requests/01937f5e-8b7a-7c3e-9d2f-4a5b6c7d8e9f",
                 "result": "/requests/01937f5e-8b7a-7c3e-9d2f-4a5b6c7d8e9f/result",
                 "events": "/requests/01937f5e-8b7a-7c3e-9d2f-4a5b6c7d8e9f/events",
             },
         })
    )]
    Accepted(RequestStatus),
    /// The Idempotency-Key cannot be read (`malformed-idempotency-key`); Request-Timeout is no number from 1 to 86400, or a parameter is there twice, unknown or no UTF-8 (`bad-request`)
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(ProblemDocument),
    /// Somebody cancelled the request (`cancelled`)
    #[response(status = 409, content_type = "application/problem+json")]
    Cancelled(ProblemDocument),
}

/// What can go wrong with a body.
#[derive(IntoResponses)]
#[allow(dead_code)] // Only its description is used.
pub enum ReadErrors {
    /// The body is empty, not readable JSON, not UTF-8, too deep, or has a member twice (`malformed-body`); or a header cannot be read (`malformed-idempotency-key`, `bad-request`)
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(ProblemDocument),
    /// The body did not arrive within ten seconds (`request-timeout`)
    #[response(status = 408, content_type = "application/problem+json")]
    Late(ProblemDocument),
    /// The body is larger than this route takes, or than MAX_BODY (`body-too-large`)
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(ProblemDocument),
    /// The body is not sent as application/json (`unsupported-media-type`), or is encoded (`unsupported-content-encoding`)
    #[response(
        status = 415,
        content_type = "application/problem+json",
        headers(("Accept-Encoding" = String, description = "Which encoding is accepted, where the body's is not"))
    )]
    MediaType(ProblemDocument),
}

/// What can go wrong on the way to a worker and back.
#[derive(IntoResponses)]
#[allow(dead_code)] // Only its description is used.
pub enum RoundTripErrors {
    /// What was asked for does not exist (`not-found`)
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(ProblemDocument),
    /// At least one value is not accepted, and `errors` lists all of them (`validation-failed`); or the Idempotency-Key was used for other content (`idempotency-key-reused`)
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(ProblemDocument),
    /// Request line and headers have more than 16 KiB (`headers-too-large`)
    #[response(status = 431, content_type = "application/problem+json")]
    Headers(ProblemDocument),
    /// The worker failed on this request (`internal`), it was set aside after failing too often (`dead-lettered`), or its result is too large to be kept (`result-too-large`)
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(ProblemDocument),
    /// The upstream failed at every attempt (`upstream-failed`), or refused (`upstream-refused`)
    #[response(status = 502, content_type = "application/problem+json")]
    Upstream(ProblemDocument),
    /// Not accepted, and will not run: too many requests in flight or waiting (`overloaded`), the broker is away (`broker-unavailable`), MAX_CONNECTIONS connections are open (`too-many-connections`). Or accepted, and not attempted: the upstream is known to be unavailable (`upstream-unavailable`)
    #[response(
        status = 503,
        content_type = "application/problem+json",
        headers(
            ("Retry-After" = u64, description = "When to try again, in seconds"),
            ("Location" = String, description = "Where to ask for the request that the Idempotency-Key names, which another call made and which goes on"),
        )
    )]
    Unavailable(ProblemDocument),
    /// No reply in time: the request may still run (`reply-timeout`), or its time ran out (`expired`), or the upstream's did (`upstream-timeout`). No confirmation from the broker: it may run, or not (`outcome-unknown`)
    #[response(
        status = 504,
        content_type = "application/problem+json",
        headers(("Location" = String, description = "Where to ask what became of it, where that can be asked"))
    )]
    Timeout(ProblemDocument),
}
