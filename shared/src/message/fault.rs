//! Why a request got no answer.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Why a request got no answer. Its text reaches callers, so it never holds an upstream's or a
/// backend's own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// What kind of fault this is.
    pub code: FaultCode,
    /// What happened to this request, in a sentence.
    pub detail: String,
    /// When to try again, in milliseconds from now, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The dead letter this became, for operators. Set by the backend, which names letters.
    #[serde(skip)]
    pub dead_letter: Option<String>,
}

impl Fault {
    /// A fault without a hint when to try again.
    pub fn new(code: FaultCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            retry_after_ms: None,
            dead_letter: None,
        }
    }

    /// The same fault with a hint when to try again.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after_ms = Some(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
        self
    }
}

/// The kinds of faults, as they stand in a fault reply's `code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultCode {
    /// The request's data does not fit the operation.
    Invalid,
    /// What was asked for does not exist.
    NotFound,
    /// The budget ran out before the work was done.
    Expired,
    /// The upstream failed every attempt.
    UpstreamFailed,
    /// The upstream refused what the worker asked of it; another attempt will not help.
    UpstreamRefused,
    /// The upstream did not answer in time.
    UpstreamTimeout,
    /// The upstream is known to be unavailable; nothing was attempted.
    UpstreamUnavailable,
    /// The request was set aside as undeliverable.
    DeadLettered,
    /// Somebody ended the request before it was done.
    Cancelled,
    /// The work was done, and its result is larger than what is kept.
    ResultTooLarge,
    /// The worker failed. Codes we do not know are read as this one.
    #[serde(other)]
    Internal,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fault_codes_read_as_internal() {
        let fault: Fault = serde_json::from_str(r#"{"code":"brand-new","detail":"x"}"#).unwrap();
        assert_eq!(fault.code, FaultCode::Internal);
    }
}
