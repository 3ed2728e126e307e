//! JSON bodies: read whole, within the limit, and refused with a problem that says why.

use std::error::Error;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRef, FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::LengthLimitError;
use roundtrip::service::problem::{Problem, ProblemType};
use tokio::time::timeout;

/// A body that takes longer is an attack or a broken client; while it waits it holds a connection.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest body, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimit(pub usize);

/// The bytes of a body that says it is JSON. Not parsed yet.
#[derive(Debug)]
pub struct JsonBody(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for JsonBody
where
    BodyLimit: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (head, body) = request.into_parts();
        let body = read(&head.headers, body, BodyLimit::from_ref(state)).await?;
        if body.is_empty() {
            let detail = "the body is empty; a JSON object is expected";
            return Err(Problem::new(ProblemType::MalformedBody, detail));
        }
        if !is_json(&head.headers) {
            let detail = "the body must be sent with Content-Type: application/json";
            return Err(Problem::new(ProblemType::UnsupportedMediaType, detail));
        }
        Ok(Self(body))
    }
}

async fn read(headers: &HeaderMap, body: Body, BodyLimit(limit): BodyLimit) -> Result<Bytes, Problem> {
    let too_large = || Problem::new(ProblemType::BodyTooLarge, format!("a body may have {limit} bytes"));
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > limit) {
        return Err(too_large());
    }
    match timeout(READ_TIMEOUT, to_bytes(body, limit)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) if error.source().is_some_and(|cause| cause.is::<LengthLimitError>()) => Err(too_large()),
        Ok(Err(_)) => Err(Problem::new(
            ProblemType::MalformedBody,
            "the body ended before it was complete",
        )),
        Err(_) => Err(Problem::new(
            ProblemType::RequestTimeout,
            "the body did not arrive in time",
        )),
    }
}

/// `application/json`, or a type built on it such as `application/problem+json`, with any parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type == "application/json" || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}
