//! Ids of a call: ours, which is its correlation id everywhere, and the caller's own X-Request-Id, which is
//! echoed and logged beside it. Ours is never taken from a caller: two callers with the same id would share
//! a reply. See docs/adr/0002.

use std::fmt;

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

use crate::message::CorrelationId;

/// The header that carries a caller's id, and ours where the caller sent none.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id accepted from a caller, in bytes; a longer one is replaced by ours.
const MAX_LENGTH: usize = 128;

/// Our id of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId(pub CorrelationId);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Gives each call its id, in the request's extensions, in the response's header, and around its logs.
pub async fn layer(mut request: Request, next: Next) -> Response {
    let id = RequestId(CorrelationId::new());
    request.extensions_mut().insert(id);
    let theirs = request
        .headers()
        .get(&HEADER)
        .filter(|value| is_acceptable(value))
        .cloned();
    let span = match theirs.as_ref().and_then(|value| value.to_str().ok()) {
        Some(theirs) => tracing::info_span!("request", request_id = %id, client_request_id = theirs),
        None => tracing::info_span!("request", request_id = %id),
    };
    let mut response = next.run(request).instrument(span).await;
    let shown = theirs.unwrap_or_else(|| HeaderValue::try_from(id.to_string()).expect("a UUID is a header value"));
    response.headers_mut().insert(HEADER, shown);
    response
}

/// Visible ASCII only: it goes into logs and back into a header.
fn is_acceptable(value: &HeaderValue) -> bool {
    (1..=MAX_LENGTH).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_could_garble_a_log_are_not_echoed() {
        for text in ["order-4711", "a", &"x".repeat(128)] {
            assert!(is_acceptable(&HeaderValue::from_str(text).unwrap()), "{text:?}");
        }
        for bytes in [&b""[..], b"a b", b"a\tb", b"\xc3\xa9", &[b'x'; 129]] {
            assert!(!is_acceptable(&HeaderValue::from_bytes(bytes).unwrap()), "{bytes:?}");
        }
    }
}
