//! What a caller wishes for one call, beside what it asks for: how long it waits, how long the work may take, and
//! under which key the call may come again.

mod idempotency_key;
mod prefer;

use std::ops::RangeInclusive;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::HeaderName;
use axum::http::request::Parts;
use roundtrip::Tenant;
use roundtrip::http::problem::{Problem, ProblemType};
use roundtrip::observe::trace::Trace;

pub use idempotency_key::CallerKey;
pub use prefer::{PREFERENCE_APPLIED, Preference, Wait};

/// How long the work may take, in seconds. Ours; there is no standard header for it.
pub const REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("request-timeout");

/// The longest time for the work that a caller gets.
const LONGEST: Duration = roundtrip::Budget::MAX;

/// The wishes of one call.
#[derive(Debug, Clone, Default)]
pub struct RequestOptions {
    /// How long the caller waits.
    pub preference: Preference,
    /// How long the work may take; `None` where the caller does not say.
    pub timeout: Option<Duration>,
    /// Under which key it may come again.
    pub key: Option<CallerKey>,
    /// Where it stands in a trace.
    pub trace: Trace,
    /// Whose call it is.
    pub tenant: Tenant,
}

impl<S: Sync> FromRequestParts<S> for RequestOptions {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self {
            preference: Preference::of(&parts.headers),
            timeout: timeout(&parts.headers)?,
            key: CallerKey::of(&parts.headers)?,
            trace: parts.extensions.get::<Trace>().cloned().unwrap_or_default(),
            tenant: parts.extensions.get::<Tenant>().cloned().unwrap_or_default(),
        })
    }
}

fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Problem> {
    let seconds = Number {
        header: REQUEST_TIMEOUT,
        shown: "Request-Timeout",
        expected: "a whole number of seconds",
        accepted: 1..=LONGEST.as_secs(),
    };
    Ok(seconds.read(headers)?.map(Duration::from_secs))
}

/// A header that holds a whole number.
pub(crate) struct Number {
    /// Its name.
    pub(crate) header: HeaderName,
    /// Its name as it is written.
    pub(crate) shown: &'static str,
    /// What the number is, with its article.
    pub(crate) expected: &'static str,
    /// From where to where it goes.
    pub(crate) accepted: RangeInclusive<u64>,
}

impl Number {
    /// The number, where the header is there; a problem that names it where it is something else, or there twice.
    pub(crate) fn read(&self, headers: &HeaderMap) -> Result<Option<u64>, Problem> {
        let (shown, expected, accepted) = (self.shown, self.expected, &self.accepted);
        let mut values = headers.get_all(&self.header).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        let refuse = |detail| Err(Problem::new(ProblemType::BadRequest, detail));
        if values.next().is_some() {
            return refuse(format!("header {shown}: one is expected, not several"));
        }
        let text = value.to_str().unwrap_or_default();
        let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
        match text
            .parse()
            .ok()
            .filter(|number| is_digits && accepted.contains(number))
        {
            Some(number) => Ok(Some(number)),
            None => refuse(format!(
                "header {shown}: {expected} from {} to {} is expected",
                accepted.start(),
                accepted.end()
            )),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn read(values: &[&'static str]) -> Result<Option<Duration>, Problem> {
        let values = values
            .iter()
            .map(|value| (REQUEST_TIMEOUT, HeaderValue::from_static(value)));
        let mut headers = HeaderMap::new();
        values.for_each(|(name, value)| {
            headers.append(name, value);
        });
        timeout(&headers)
    }

    #[test]
    fn a_timeout_is_in_whole_seconds_and_a_day_at_most() {
        assert_eq!(read(&[]).unwrap(), None);
        for (text, seconds) in [("1", 1), ("120", 120), ("0060", 60), ("86400", 86_400)] {
            assert_eq!(read(&[text]).unwrap(), Some(Duration::from_secs(seconds)));
        }
        for text in [
            "0",
            "-1",
            "+1",
            "1.5",
            "1e9",
            "30s",
            "",
            "86401",
            "99999999999999999999",
        ] {
            let problem = read(&[text]).unwrap_err();
            assert_eq!(problem.kind(), ProblemType::BadRequest, "{text:?}");
            let said = String::from_utf8(problem.to_json()).unwrap();
            let expected = "header Request-Timeout: a whole number of seconds from 1 to 86400 is expected";
            assert!(said.contains(expected), "{text:?}: {said}");
        }
        assert_eq!(read(&["1", "1"]).unwrap_err().kind(), ProblemType::BadRequest);
    }
}
