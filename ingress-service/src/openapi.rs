//! What the OpenAPI document says besides its routes.

use roundtrip::service::problem::ProblemDocument;
use utoipa::{IntoResponses, OpenApi};

/// The document's frame.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Roundtrip ingress-service",
        description = "A durable request/reply queue between this API and a slow or fragile backend: each request is \
                       written to a stream, worked on by one of many bounded workers, and answered here.\n\n\
                       Every error is an RFC 9457 problem document (`application/problem+json`). After a 503 the \
                       request was not accepted and will not run; after a 504 it may have run, or still run.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    tags(
        (name = "weather", description = "The operation"),
        (name = "operation", description = "Health and metrics"),
        (name = "problems", description = "What a problem's type means"),
    ),
)]
pub struct Document;

/// What can go wrong with a body.
#[derive(IntoResponses)]
#[allow(dead_code)] // Only its description is used.
pub enum ReadErrors {
    /// The body is empty, not readable JSON, not UTF-8, or nested too deeply
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(ProblemDocument),
    /// The body did not arrive within ten seconds
    #[response(status = 408, content_type = "application/problem+json")]
    Late(ProblemDocument),
    /// The body is larger than MAX_BODY
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(ProblemDocument),
    /// The body is not sent as application/json
    #[response(status = 415, content_type = "application/problem+json")]
    MediaType(ProblemDocument),
}

/// What can go wrong on the way to a worker and back.
#[derive(IntoResponses)]
#[allow(dead_code)] // Only its description is used.
pub enum RoundTripErrors {
    /// The city is not known
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(ProblemDocument),
    /// At least one value is not accepted; `errors` lists all of them
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
        headers(("Retry-After" = u64, description = "When to try again, in seconds"))
    )]
    Unavailable(ProblemDocument),
    /// No reply in time, or no confirmation from the broker: the request may have run, or still run
    #[response(status = 504, content_type = "application/problem+json")]
    Timeout(ProblemDocument),
}
