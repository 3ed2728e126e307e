//! JSON bodies: read whole, within the limit of their route and the memory there is for all of them, and refused with a
//! problem that says why. The rule: what can be refused by its head is refused before anything of it is read.

use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::BodyExt as _;
use prometheus::IntCounter;
use roundtrip::http::problem::{Problem, ProblemType};
use tokio::time::timeout;

use crate::body_memory::{BodyMemory, Share};
use crate::metrics::OperationMetrics;

#[cfg(test)]
mod tests;

/// A body that takes longer is an attack or a broken client; while it waits it holds a connection and its bytes.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// When to come back while bodies take all of their memory: as soon as those that stall have lost theirs, at the
/// latest.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Reads bodies.
#[derive(Debug, Clone)]
pub struct Bodies {
    /// The most that any body may have, in bytes.
    most: usize,
    memory: BodyMemory,
    refused: IntCounter,
}

/// The bytes of a body that says it is JSON. Not parsed yet.
#[derive(Debug)]
pub struct JsonBody {
    bytes: Bytes,
    /// Given back with the bytes.
    _share: Share,
}

impl JsonBody {
    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Bodies {
    /// Bodies of at most `most` bytes each, and `memory` together with those of all other operations.
    pub(crate) fn new(most: usize, memory: BodyMemory, metrics: &OperationMetrics) -> Self {
        let refused = metrics.refused.with_label_values(&["body_memory"]);
        Self { most, memory, refused }
    }

    /// Reads the body of a request, of at most `limit` bytes.
    ///
    /// # Errors
    /// A [`Problem`] for the caller, whose request was not accepted.
    pub async fn read(&self, request: Request, limit: usize) -> Result<JsonBody, Problem> {
        let (head, body) = request.into_parts();
        let limit = limit.min(self.most);
        if body.is_end_stream() {
            return Err(empty());
        }
        accept_encoding_and_type(&head.headers)?;
        let announced = announced(&head.headers).unwrap_or_default();
        // With the bytes that it was read from: another buffer for as long as the body takes.
        drop(head);
        if announced > limit {
            return Err(too_large(limit));
        }
        let mut share = self.memory.share();
        let whole = self.whole(body, announced, limit, &mut share);
        let late = |_| Problem::new(ProblemType::RequestTimeout, "the body did not arrive in time");
        let bytes = timeout(READ_TIMEOUT, whole).await.map_err(late)??;
        if bytes.is_empty() {
            return Err(empty());
        }
        Ok(JsonBody { bytes, _share: share })
    }

    async fn whole(&self, mut body: Body, announced: usize, limit: usize, share: &mut Share) -> Result<Bytes, Problem> {
        self.grow(share, announced)?;
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| broken_off())?;
            // What is no data are trailers, of which nothing is expected.
            let Ok(data) = frame.into_data() else { continue };
            let length = bytes.len() + data.len();
            if length > limit {
                return Err(too_large(limit));
            }
            if length > share.bytes() {
                self.grow(share, length.max(2 * share.bytes()).min(limit))?;
            }
            if bytes.is_empty() && body.is_end_stream() {
                return Ok(data);
            }
            bytes.reserve_exact(share.bytes() - bytes.len());
            bytes.extend_from_slice(&data);
        }
        Ok(bytes.into())
    }

    fn grow(&self, share: &mut Share, bytes: usize) -> Result<(), Problem> {
        if share.grow_to(bytes) {
            return Ok(());
        }
        self.refused.inc();
        let detail = "bodies that are being read take all of MAX_BODY_MEMORY; this request was not accepted";
        Err(Problem::new(ProblemType::Overloaded, detail).retry_after(RETRY_AFTER))
    }
}

fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn empty() -> Problem {
    let detail = "the body is empty; a JSON object is expected";
    Problem::new(ProblemType::MalformedBody, detail)
}

fn too_large(limit: usize) -> Problem {
    Problem::new(ProblemType::BodyTooLarge, format!("a body may have {limit} bytes here"))
}

fn broken_off() -> Problem {
    Problem::new(ProblemType::MalformedBody, "the body ended before it was complete")
}

fn accept_encoding_and_type(headers: &HeaderMap) -> Result<(), Problem> {
    if is_encoded(headers) {
        let detail = "the body must be sent as it is, without Content-Encoding";
        return Err(Problem::new(ProblemType::UnsupportedContentEncoding, detail));
    }
    if !is_json(headers) {
        let detail = "the body must be sent with Content-Type: application/json";
        return Err(Problem::new(ProblemType::UnsupportedMediaType, detail));
    }
    Ok(())
}

/// Whether something was done to the content: <https://www.rfc-editor.org/rfc/rfc9110#section-8.4>
fn is_encoded(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(CONTENT_ENCODING).iter();
    let mut codings = codings.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    codings.any(|coding| {
        let coding = coding.trim_ascii();
        !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity")
    })
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
