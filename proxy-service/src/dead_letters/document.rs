//! What the OpenAPI document says about the admin API besides its routes.

use roundtrip::http::problem::ProblemDocument;
use utoipa::openapi::OpenApi as Api;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{IntoParams, IntoResponses, Modify, OpenApi};

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

/// Which letter.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code)] // Only its description is used.
pub(super) struct LetterId {
    /// The letter's id
    #[param(
        pattern = "^(0|[1-9][0-9]{0,19})-(0|[1-9][0-9]{0,19})$",
        min_length = 3,
        max_length = 41,
        example = "1763687432117-0"
    )]
    id: String,
}

/// Which page of letters. None may be there twice.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)] // Only its description is used.
pub(super) struct Cursors {
    /// Only letters older than the one of this id: the `next` of the page before
    #[param(
        value_type = String,
        required = false,
        pattern = "^(0|[1-9][0-9]{0,19})-(0|[1-9][0-9]{0,19})$",
        min_length = 3,
        max_length = 41
    )]
    cursor: Option<String>,
    /// The same by its older name; of two the older letter counts
    #[param(
        value_type = String,
        required = false,
        pattern = "^(0|[1-9][0-9]{0,19})-(0|[1-9][0-9]{0,19})$",
        min_length = 3,
        max_length = 41
    )]
    before: Option<String>,
}

/// What can go wrong with every call.
#[derive(IntoResponses)]
#[allow(dead_code)] // Only its description is used.
pub(super) enum CallErrors {
    /// The token is missing, or another one (`unauthorized`)
    #[response(
        status = 401,
        content_type = "application/problem+json",
        headers(("WWW-Authenticate" = String, description = "`Bearer`, with `error` where a token was sent"))
    )]
    Unauthorized(ProblemDocument),
    /// A parameter is there twice, unknown, or no UTF-8 (`bad-request`); `errors` names it
    #[response(status = 400, content_type = "application/problem+json")]
    Unreadable(ProblemDocument),
    /// A parameter is not accepted (`validation-failed`); `errors` names it
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(ProblemDocument),
    /// Request line and headers have more than 16 KiB (`headers-too-large`)
    #[response(status = 431, content_type = "application/problem+json")]
    Headers(ProblemDocument),
    /// The broker does not allow it, or something failed inside the service (`internal`); the log says why
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(ProblemDocument),
    /// The broker is away (`broker-unavailable`); nothing was changed
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
    /// The broker did not confirm it (`outcome-unknown`): if the letter is still there, nothing happened
    #[response(status = 504, content_type = "application/problem+json")]
    Unknown(ProblemDocument),
}
