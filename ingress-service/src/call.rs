//! What a caller wishes for one call, beside what it asks for: how long it waits, how long the work may take, and
//! under which key the call may come again.

mod key;
mod prefer;

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::header::HeaderName;
use axum::http::request::Parts;
use roundtrip::service::problem::{Problem, ProblemType};
use roundtrip::service::traces::Trace;

pub use key::CallerKey;
pub use prefer::{PREFERENCE_APPLIED, Preference, Wait};

/// How long the work may take, in seconds. Ours; there is no standard header for it.
pub const REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("request-timeout");

/// The longest time for the work that a caller gets.
const LONGEST: Duration = roundtrip::Budget::MAX;

/// The wishes of one call.
#[derive(Debug, Clone, Default)]
pub struct Call {
    /// How long the caller waits.
    pub preference: Preference,
    /// How long the work may take; `None` where the caller does not say.
    pub timeout: Option<Duration>,
    /// Under which key it may come again.
    pub key: Option<CallerKey>,
    /// Where it stands in a trace.
    pub trace: Trace,
}

impl<S: Sync> FromRequestParts<S> for Call {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self {
            preference: Preference::of(&parts.headers),
            timeout: parts.headers.get(REQUEST_TIMEOUT).map(timeout).transpose()?,
            key: CallerKey::of(&parts.headers)?,
            trace: parts.extensions.get::<Trace>().cloned().unwrap_or_default(),
        })
    }
}

fn timeout(value: &axum::http::HeaderValue) -> Result<Duration, Problem> {
    let seconds = value.to_str().ok().and_then(|text| text.trim().parse::<u64>().ok());
    match seconds {
        Some(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds).min(LONGEST)),
        _ => Err(Problem::new(
            ProblemType::BadRequest,
            "header Request-Timeout: a whole number of seconds above zero is expected",
        )),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_in_whole_seconds_and_a_day_at_most() {
        for (text, seconds) in [("1", 1), ("120", 120), ("999999999", 86_400)] {
            assert_eq!(timeout(&text.parse().unwrap()).unwrap(), Duration::from_secs(seconds));
        }
        for text in ["0", "-1", "1.5", "30s", "", "99999999999999999999"] {
            assert_eq!(
                timeout(&text.parse().unwrap()).unwrap_err().kind(),
                ProblemType::BadRequest,
                "{text:?}"
            );
        }
    }
}
