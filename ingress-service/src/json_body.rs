//! JSON bodies: read whole, within the limit, and refused with a problem that says why.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use roundtrip::service::problem::{Problem, ProblemType};

/// The bytes of a body that says it is JSON. Not parsed yet.
#[derive(Debug)]
pub struct JsonBody(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let says_json = is_json(request.headers());
        let body = Bytes::from_request(request, state).await.map_err(unread)?;
        if body.is_empty() {
            return Err(Problem::new(
                ProblemType::MalformedBody,
                "the body is empty; a JSON object is expected",
            ));
        }
        if !says_json {
            let detail = "the body must be sent with Content-Type: application/json";
            return Err(Problem::new(ProblemType::UnsupportedMediaType, detail));
        }
        Ok(Self(body))
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

fn unread(rejection: BytesRejection) -> Problem {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
            ProblemType::BodyTooLarge,
            "the body is larger than this service accepts (MAX_BODY)",
        ),
        _ => Problem::new(ProblemType::MalformedBody, "the body ended before it was complete"),
    }
}
