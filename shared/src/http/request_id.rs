//! Ids of a call: ours, which is its correlation id everywhere, and the caller's own X-Request-Id, which is
//! echoed and logged beside it. Ours is never taken from a caller: two callers with the same id would share
//! a reply. See docs/adr/0002.

use std::fmt;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use tracing::Span;

use crate::message::CorrelationId;

/// The header that carries a caller's id, and ours where the caller sent none.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id accepted from a caller, in bytes; a longer one is replaced by ours.
const MAX_LENGTH: usize = 128;

/// Our id of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId(pub CorrelationId);

impl RequestId {
    pub(super) fn new() -> Self {
        Self(CorrelationId::new())
    }

    pub(super) fn to_header(self) -> HeaderValue {
        HeaderValue::try_from(self.to_string()).expect("a UUID is a header value")
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The caller's own id, where it sent an acceptable one.
pub(super) fn of_caller(headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get(&HEADER).filter(|value| is_acceptable(value)).cloned()
}

/// The span around a call's logs. At debug level: a span that is always there costs more than the call's
/// whole way through the broker, and each log line that matters names the id itself.
pub(super) fn span(id: RequestId, theirs: Option<&HeaderValue>) -> Span {
    match theirs.and_then(|value| value.to_str().ok()) {
        Some(theirs) => tracing::debug_span!("request", request_id = %id, client_request_id = theirs),
        None => tracing::debug_span!("request", request_id = %id),
    }
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
