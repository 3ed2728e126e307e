//! The proxy's own HTTP face: what operators ask, and what its operations add.

use roundtrip::http::probes::{self, Admin};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::operations::Operations;
use crate::station::Stations;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Roundtrip proxy-service",
        description = "Workers that claim requests from the stream, do the work behind a resilience stack, and answer \
                       through the reply stream. Callers talk to ingress-service; this API is for operators.\n\n\
                       Every error is an RFC 9457 problem document.",
    ),
    tags(
        (name = "weather", description = "The operation these workers do, past the queue"),
        (name = "operation", description = "Health, readiness and metrics of this instance"),
        (name = "problems", description = "Explanations of the types of problems"),
    ),
)]
struct Document;

/// All routes of the proxy, with their document.
pub fn router(operations: &Operations, stations: &Stations, admin: Admin) -> OpenApiRouter {
    let routes = operations.iter().filter_map(|one| one.routes.as_ref());
    let document = OpenApiRouter::with_openapi(Document::openapi());
    routes
        .fold(document, |all, routes| all.merge(routes(stations)))
        .merge(probes::router(admin))
}
