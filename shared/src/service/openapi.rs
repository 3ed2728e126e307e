//! The OpenAPI document and the page that makes it usable: /openapi.json and /swagger.

use axum::Router;
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
