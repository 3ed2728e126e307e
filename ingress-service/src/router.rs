//! All routes of the ingress, with their document.

use roundtrip::http::probes::{self, Admin};
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;

use crate::openapi::Document;
use crate::routes::requests;
use crate::routes::weather::{self, WeatherState};

/// The routes.
pub fn router(weather: WeatherState, admin: Admin) -> OpenApiRouter {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(requests::router(weather.requester.clone()))
        .merge(weather::router(weather))
        .merge(probes::router(admin))
}
