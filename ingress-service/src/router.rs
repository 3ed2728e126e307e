//! All routes of the ingress, with their document.

use std::sync::Arc;

use roundtrip::http::probes::{self, Admin};
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;

use crate::openapi::Document;
use crate::routes::requests;
use crate::transport::Transport;

/// The routes of the operations, and those of all of them.
pub(crate) fn router(
    transport: Arc<Transport>,
    operations: impl Iterator<Item = OpenApiRouter>,
    admin: Admin,
) -> OpenApiRouter {
    let document = OpenApiRouter::with_openapi(Document::openapi()).merge(requests::router(transport));
    operations
        .fold(document, OpenApiRouter::merge)
        .merge(probes::router(admin))
}
