//! Why an attempt failed, and what follows from it. Nothing else decides what is retried, what counts
//! against an upstream, or what a caller is told.

use std::time::Duration;

use roundtrip::{Fault, FaultCode};

/// Why an attempt, or the whole work on a request, produced no answer.
///
/// Texts in `detail` reach callers: they name the caller's own input or say in general terms what
/// happened, never an upstream's raw error text, an address or a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The request itself is wrong; no attempt can help.
    Invalid {
        /// What is wrong, and what is accepted.
        detail: String,
    },
    /// What the caller asked for does not exist, for example an unknown city.
    NotFound {
        /// What was looked for.
        detail: String,
    },
    /// The upstream asked for less traffic (429 or 503).
    Throttled {
        /// The upstream's own `Retry-After`, where it sent one.
        retry_after: Option<Duration>,
    },
    /// The upstream answered with an error or with something unreadable, or could not be reached.
    Upstream {
        /// What went wrong, in words fit for a caller.
        detail: String,
    },
    /// The upstream refused our query as wrong: asking again will not help.
    UpstreamRefused {
        /// What went wrong, in words fit for a caller.
        detail: String,
    },
    /// One attempt took longer than its timeout.
    AttemptTimeout,
    /// The caller's budget ran out, before or during the work.
    DeadlineExceeded,
    /// The upstream's circuit breaker is open; nothing was attempted.
    CircuitOpen {
        /// How long the breaker stays open at most.
        retry_after: Duration,
    },
    /// Somebody ended the request while it was at work, or before.
    Cancelled,
    /// The handler panicked; the panic was caught. The same input will meet the same mistake.
    Panicked {
        /// What it said, for operators only.
        message: String,
    },
}

impl Failure {
    /// Whether another attempt may succeed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Throttled { .. } | Self::Upstream { .. } | Self::AttemptTimeout
        )
    }

    /// Whether it speaks against the upstream's health. What the caller or we ourselves did wrong does not.
    #[must_use]
    pub fn counts_against_upstream(&self) -> bool {
        self.is_retryable()
    }

    /// The least time to wait before another attempt, where the upstream said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled { retry_after } => *retry_after,
            Self::CircuitOpen { retry_after } => Some(*retry_after),
            _ => None,
        }
    }

    /// The names in metrics of all there are.
    pub(crate) const LABELS: [&'static str; 10] = [
        "invalid",
        "not_found",
        "throttled",
        "upstream_failed",
        "upstream_refused",
        "attempt_timeout",
        "expired",
        "circuit_open",
        "cancelled",
        "panicked",
    ];

    /// The failure's name in metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "invalid",
            Self::NotFound { .. } => "not_found",
            Self::Throttled { .. } => "throttled",
            Self::Upstream { .. } => "upstream_failed",
            Self::UpstreamRefused { .. } => "upstream_refused",
            Self::AttemptTimeout => "attempt_timeout",
            Self::DeadlineExceeded => "expired",
            Self::CircuitOpen { .. } => "circuit_open",
            Self::Cancelled => "cancelled",
            Self::Panicked { .. } => "panicked",
        }
    }

    /// What the caller is told.
    #[must_use]
    pub fn to_fault(&self) -> Fault {
        let (code, detail) = match self {
            Self::Invalid { detail } => (FaultCode::Invalid, detail.as_str()),
            Self::NotFound { detail } => (FaultCode::NotFound, detail.as_str()),
            Self::Throttled { .. } => (FaultCode::UpstreamFailed, "the upstream asked for less traffic"),
            Self::Upstream { detail } => (FaultCode::UpstreamFailed, detail.as_str()),
            Self::UpstreamRefused { detail } => (FaultCode::UpstreamRefused, detail.as_str()),
            Self::AttemptTimeout => (FaultCode::UpstreamTimeout, "the upstream did not answer in time"),
            Self::DeadlineExceeded => (
                FaultCode::Expired,
                "the time for this request ran out before it was done",
            ),
            Self::CircuitOpen { .. } => (
                FaultCode::UpstreamUnavailable,
                "the upstream keeps failing and is given a pause; nothing was attempted",
            ),
            Self::Cancelled => (FaultCode::Cancelled, "the request was cancelled before it was done"),
            Self::Panicked { .. } => (FaultCode::Internal, "the worker failed on this request"),
        };
        let fault = Fault::new(code, detail);
        match self.retry_after() {
            Some(delay) => fault.retry_after(delay),
            None => fault,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_mistake_is_neither_retried_nor_held_against_the_upstream() {
        let detail = String::new();
        for failure in [
            Failure::Invalid { detail: detail.clone() },
            Failure::NotFound { detail: detail.clone() },
            Failure::UpstreamRefused { detail },
            Failure::Panicked { message: String::new() },
            Failure::DeadlineExceeded,
        ] {
            assert!(
                !failure.is_retryable() && !failure.counts_against_upstream(),
                "{failure:?}"
            );
        }
    }

    #[test]
    fn the_upstreams_own_retry_after_reaches_the_caller() {
        let failure = Failure::Throttled {
            retry_after: Some(Duration::from_secs(7)),
        };
        assert_eq!(failure.to_fault().retry_after_ms, Some(7000));
    }
}
