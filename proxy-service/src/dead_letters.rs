//! What an operator may do about dead letters, under /admin. The one rule: nothing under /admin is reached
//! without the token, not even the answer that there is nothing; and without a token in the configuration
//! none of it exists.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use roundtrip::broker::DeadLetters;
use roundtrip::http::problem::{Problem, ProblemType};
use roundtrip::observe::metrics::Metrics;
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;

use actions::Actions;
use routes::Desk;
pub use token::AdminToken;
use token::Refused;
pub use token::TokenParser;

mod actions;
mod document;
mod params;
mod responses;
mod routes;
mod token;

/// Adds the admin API to the routes of the proxy.
pub fn enable(
    routes: OpenApiRouter,
    token: AdminToken,
    letters: Arc<dyn DeadLetters>,
    metrics: &Metrics,
) -> OpenApiRouter {
    let desk = Desk {
        letters,
        actions: Actions::new(metrics),
    };
    let guard = from_fn_with_state(token, check);
    let guarded = OpenApiRouter::with_openapi(document::Document::openapi())
        .merge(routes::router(desk))
        // One of its own, so that the guard is around it too.
        .fallback(nothing)
        .layer(guard.clone());
    // Nesting leaves out the prefix with a slash and nothing after it.
    let bare = any(nothing).layer(guard);
    routes.nest("/admin", guarded).route("/admin/", bare)
}

async fn nothing() -> StatusCode {
    StatusCode::NOT_FOUND
}

async fn check(State(token): State<AdminToken>, request: Request, next: Next) -> Response {
    match token.admits(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refused) => refuse(refused),
    }
}

/// <https://www.rfc-editor.org/rfc/rfc6750#section-3>: a caller that sent no token hears only how to.
fn refuse(refused: Refused) -> Response {
    let (challenge, detail) = match refused {
        Refused::Missing => ("Bearer", "send the token in the header Authorization: Bearer <token>"),
        Refused::Wrong => (
            r#"Bearer error="invalid_token""#,
            "the token is not the one of this proxy",
        ),
    };
    let mut response = Problem::new(ProblemType::Unauthorized, detail).into_response();
    let challenge = HeaderValue::from_static(challenge);
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

#[cfg(test)]
mod tests;
