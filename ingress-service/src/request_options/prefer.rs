//! The Prefer header ([RFC 7240](https://www.rfc-editor.org/rfc/rfc7240)): `wait` and `respond-async`. What cannot be
//! read, and what is repeated, is ignored, as the RFC says; what was used is said in Preference-Applied.

use std::time::Duration;

use axum::http::header::HeaderName;
use axum::http::{HeaderMap, HeaderValue};

/// What a caller would like.
pub(super) const PREFER: HeaderName = HeaderName::from_static("prefer");

/// What of it was used.
pub const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The longest wait; a longer one is cut to it, and said so. Proxies on the way give up at about this time, too.
const LONGEST_WAIT: u64 = 120;

/// How long a caller waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wait {
    /// For the answer, as long as REQUEST_TIMEOUT.
    #[default]
    ForAnswer,
    /// So long, and then asks again later.
    UpTo(Duration),
    /// Not at all.
    Not,
}

/// The preferences of one call, as far as they are ours to honour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Preference {
    wait: Option<u64>,
    respond_async: bool,
}

impl Preference {
    /// Reads all Prefer headers of a call.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let mut preference = Self::default();
        let mut seen_wait = false;
        let texts = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
        for item in texts.flat_map(|text| split_outside_quotes(text, b',')) {
            // Parameters, behind a semicolon, mean nothing here.
            let Some(token) = split_outside_quotes(item, b';').next() else {
                continue;
            };
            let (name, value) = match token.split_once('=') {
                Some((name, value)) => (name.trim(), unquoted(value.trim())),
                None => (token.trim(), ""),
            };
            if name.eq_ignore_ascii_case("respond-async") && value.is_empty() {
                preference.respond_async = true;
            } else if name.eq_ignore_ascii_case("wait") && !std::mem::replace(&mut seen_wait, true) {
                preference.wait = seconds(value);
            }
        }
        preference
    }

    /// How long the caller waits: with both preferences up to `wait`, and then it is content with a promise.
    #[must_use]
    pub fn wait(self) -> Wait {
        match self.wait {
            Some(0) => Wait::Not,
            Some(seconds) => Wait::UpTo(Duration::from_secs(seconds)),
            None if self.respond_async => Wait::Not,
            None => Wait::ForAnswer,
        }
    }

    /// What Preference-Applied says; `None` where nothing was asked for that is ours.
    #[must_use]
    pub fn applied(self) -> Option<HeaderValue> {
        let wait = self.wait.map(|seconds| format!("wait={seconds}"));
        let respond_async = self.respond_async.then(|| "respond-async".to_owned());
        let used: Vec<String> = respond_async.into_iter().chain(wait).collect();
        (!used.is_empty()).then(|| HeaderValue::try_from(used.join(", ")).expect("names and digits are a header value"))
    }
}

/// Whole seconds, cut to the longest wait. So many digits that no number holds them are still a long wait.
fn seconds(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX).min(LONGEST_WAIT))
}

/// What a quoted string holds; a text that only begins or ends with a quote is none, and stays as it is.
fn unquoted(text: &str) -> &str {
    text.strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text)
}

fn split_outside_quotes(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c: char| {
        quoted ^= c == '"';
        !quoted && c == char::from(separator)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn of(values: &[&'static str]) -> Preference {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(PREFER, HeaderValue::from_static(value));
        }
        Preference::of(&headers)
    }

    const fn up_to(seconds: u64) -> Wait {
        Wait::UpTo(Duration::from_secs(seconds))
    }

    #[rstest]
    #[case(&[], Wait::ForAnswer, None)]
    #[case(&["wait=10"], up_to(10), Some("wait=10"))]
    #[case(&["WAIT = \"10\""], up_to(10), Some("wait=10"))]
    #[case(&["wait=0"], Wait::Not, Some("wait=0"))]
    #[case(&["wait=9999"], up_to(120), Some("wait=120"))]
    #[case(&["wait=99999999999999999999999999"], up_to(120), Some("wait=120"))]
    #[case(&["respond-async"], Wait::Not, Some("respond-async"))]
    #[case(&["Respond-Async; foo=\"a,b\""], Wait::Not, Some("respond-async"))]
    #[case(&["respond-async, wait=5"], up_to(5), Some("respond-async, wait=5"))]
    #[case(&["respond-async", "wait=5"], up_to(5), Some("respond-async, wait=5"))]
    #[case(&["handling=lenient; x=\"wait=3, respond-async\", wait=7"], up_to(7), Some("wait=7"))]
    // The first instance counts (RFC 7240, section 2), also where it cannot be read.
    #[case(&["wait=1, wait=100"], up_to(1), Some("wait=1"))]
    #[case(&["wait=-1"], Wait::ForAnswer, None)]
    #[case(&["wait=-1, wait=100"], Wait::ForAnswer, None)]
    #[case(&["wait=1.5"], Wait::ForAnswer, None)]
    #[case(&["wait=\"5"], Wait::ForAnswer, None)]
    #[case(&["wait=\""], Wait::ForAnswer, None)]
    #[case(&["wait=\"\"5\"\""], Wait::ForAnswer, None)]
    #[case(&["wait"], Wait::ForAnswer, None)]
    #[case(&["wait=ten"], Wait::ForAnswer, None)]
    #[case(&["respond-async=1"], Wait::ForAnswer, None)]
    #[case(&["return=minimal, handling=strict"], Wait::ForAnswer, None)]
    #[case(&[",;=,\"", "  "], Wait::ForAnswer, None)]
    fn a_preference_is_used_or_ignored_never_refused(
        #[case] values: &[&'static str],
        #[case] wait: Wait,
        #[case] applied: Option<&str>,
    ) {
        let preference = of(values);
        assert_eq!(preference.wait(), wait);
        let said = preference.applied();
        assert_eq!(said.as_ref().map(|value| value.to_str().unwrap()), applied);
    }
}
