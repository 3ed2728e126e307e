//! What the OpenAPI document says about the admin API besides its routes.

use roundtrip::service::problem::ProblemDocument;
use utoipa::openapi::OpenApi as Api;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{IntoResponses, Modify, OpenApi};

/// The document's frame.
#[derive(OpenApi)]
#[openapi(
    tags((name = "dead letters", description = "Requests that were given up, kept for somebody to look at")),
    modifiers(&Token),
)]
pub(super) struct Document;

/// Says how the token is sent, and makes Swagger ask for it.
struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut Api) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("The value of ADMIN_TOKEN"));
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("token", SecurityScheme::Http(scheme.build()));
    }
}

/// What can go wrong with every call.
#[derive(IntoResponses)]
#[allow(dead_code)] // Only its description is used.
pub(super) enum CallErrors {
    /// The token is missing, or another one
    #[response(
        status = 401,
        content_type = "application/problem+json",
        headers(("WWW-Authenticate" = String, description = "`Bearer`, with `error` where a token was sent"))
    )]
    Unauthorized(ProblemDocument),
    /// A parameter is not accepted; `errors` names it
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(ProblemDocument),
    /// Request line and headers have more than 16 KiB
    #[response(status = 431, content_type = "application/problem+json")]
    Headers(ProblemDocument),
    /// The broker does not allow it, or something failed inside the service; the log says why
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(ProblemDocument),
    /// The broker is away; nothing was changed
    #[response(
        status = 503,
        content_type = "application/problem+json",
        headers(("Retry-After" = u64, description = "When to try again, in seconds"))
    )]
    Unavailable(ProblemDocument),
}

/// What can go wrong with a change besides.
#[derive(IntoResponses)]
#[allow(dead_code)] // Only its description is used.
pub(super) enum ChangeErrors {
    /// The broker did not confirm it: if the letter is still there, nothing happened
    #[response(status = 504, content_type = "application/problem+json")]
    Unknown(ProblemDocument),
}
