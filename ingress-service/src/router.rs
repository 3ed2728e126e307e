//! All routes of the ingress, with their document.

use axum::extract::DefaultBodyLimit;
use roundtrip::service::admin::{self, Admin};
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;

use crate::openapi::Document;
use crate::routes::weather::{self, WeatherState};

/// The routes; bodies have at most `max_body` bytes.
pub fn router(weather: WeatherState, admin: Admin, max_body: usize) -> OpenApiRouter {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(weather::router(weather))
        .merge(admin::router(admin))
        .layer(DefaultBodyLimit::max(max_body))
}
