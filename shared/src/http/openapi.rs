//! The OpenAPI document and the page that makes it usable: /openapi.json and /swagger.

mod examples;
mod pages;

use axum::Router;
use axum::http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::map_response;
use axum::response::Response;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::{Config, SwaggerUi};

/// Splits a router into its routes and its document, and adds the document's own routes.
pub fn serve(router: OpenApiRouter) -> (Router, OpenApi) {
    let (routes, mut document) = router.split_for_parts();
    examples::add(&mut document);
    let ui = SwaggerUi::new("/swagger")
        .url("/openapi.json", document.clone())
        .config(
            Config::default()
                .try_it_out_enabled(true)
                .display_request_duration(true),
        );
    let pages = Router::from(ui).merge(pages::router(&document.info.title));
    (routes.merge(pages.layer(map_response(shield))), document)
}

/// What a browser may do with these pages: run their own scripts, and call the server they came from. Swagger UI sets styles
/// inline, and has its icons in its style sheet.
/// <https://cheatsheetseries.owasp.org/cheatsheets/HTTP_Headers_Cheat_Sheet.html>
const SHIELDS: [(HeaderName, &str); 4] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
];

async fn shield(mut response: Response) -> Response {
    for (name, value) in SHIELDS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
