//! The OpenAPI document and the page that makes it usable: /openapi.json and /swagger.

use axum::Router;
use axum::http::{HeaderName, HeaderValue};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::{Config, SwaggerUi};

/// Splits a router into its routes and its document, and adds the document's own routes.
pub fn serve(router: OpenApiRouter) -> (Router, OpenApi) {
    let (routes, document) = router.split_for_parts();
    let ui = SwaggerUi::new("/swagger")
        .url("/openapi.json", document.clone())
        .config(
            Config::default()
                .try_it_out_enabled(true)
                .display_request_duration(true),
        );
    (routes.merge(ui), document)
}

/// No page of ours is to be framed, nor a body's type guessed.
#[must_use]
pub fn safety_headers() -> [(HeaderName, HeaderValue); 2] {
    [
        (
            HeaderName::from_static("x-content-type-options"),
            HeaderValue::from_static("nosniff"),
        ),
        (
            HeaderName::from_static("x-frame-options"),
            HeaderValue::from_static("DENY"),
        ),
    ]
}
