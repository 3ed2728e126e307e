//! Why an attempt failed, and what follows from it. Nothing else decides what is retried, what counts
//! against an upstream, or what a caller is told.

use std::time::Duration;

use roundtrip::resilience::breaker::Verdict;
use roundtrip::{Fault, FaultCode};

/// The longest pause between two attempts: a `Retry-After` up to here is slept out in the terminal.
pub(crate) const MAX_RETRY_DELAY: Duration = Duration::from_secs(2);

/// The longest pause an upstream is given at a time, whatever it asked for: then a few probes ask again.
const MAX_UPSTREAM_PAUSE: Duration = Duration::from_secs(30);

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
    /// What the caller asked for does not exist.
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
    /// Whether another attempt may succeed soon.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Throttled { retry_after } => retry_after.is_none_or(|asked| asked <= MAX_RETRY_DELAY),
            Self::Upstream { .. } | Self::AttemptTimeout => true,
            _ => false,
        }
    }

    /// What it says about the upstream's health. `had_fair_time`: whether the upstream had as long as its answers
    /// take; a caller with less time than that says nothing.
    #[must_use]
    pub fn verdict(&self, had_fair_time: bool) -> Verdict {
        match self {
            Self::Throttled {
                retry_after: Some(asked),
            } if *asked > MAX_RETRY_DELAY => Verdict::Pause((*asked).min(MAX_UPSTREAM_PAUSE)),
            Self::Throttled { .. } | Self::Upstream { .. } | Self::AttemptTimeout => Verdict::Failed,
            Self::DeadlineExceeded if had_fair_time => Verdict::Failed,
            // It answered.
            Self::NotFound { .. } | Self::UpstreamRefused { .. } => Verdict::Well,
            // It was not asked, or nobody knows what it would have said.
            Self::DeadlineExceeded
            | Self::Invalid { .. }
            | Self::Panicked { .. }
            | Self::Cancelled
            | Self::CircuitOpen { .. } => Verdict::Nothing,
        }
    }

    /// The upstream is given a pause: nothing was attempted, unless an earlier delivery did.
    pub(crate) fn unavailable(delivery: u32, retry_after: Duration) -> Self {
        match delivery {
            1 => Self::CircuitOpen { retry_after },
            _ => Self::Upstream {
                detail: "the upstream is unavailable, and an earlier delivery of this request may have reached it"
                    .to_owned(),
            },
        }
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
        for (failure, verdict) in [
            (Failure::Invalid { detail: detail.clone() }, Verdict::Nothing),
            (Failure::NotFound { detail: detail.clone() }, Verdict::Well),
            (Failure::UpstreamRefused { detail }, Verdict::Well),
            (Failure::Panicked { message: String::new() }, Verdict::Nothing),
            (Failure::DeadlineExceeded, Verdict::Nothing),
            (Failure::Cancelled, Verdict::Nothing),
        ] {
            assert!(!failure.is_retryable(), "{failure:?}");
            assert_eq!(failure.verdict(false), verdict, "{failure:?}");
        }
    }

    #[test]
    fn a_deadline_counts_where_the_upstream_had_fair_time() {
        assert_eq!(Failure::DeadlineExceeded.verdict(true), Verdict::Failed);
        assert_eq!(Failure::Cancelled.verdict(true), Verdict::Nothing);
    }

    #[test]
    fn a_retry_after_is_slept_out_when_short_and_a_bounded_pause_when_long() {
        let throttled = |seconds: Option<u64>| Failure::Throttled {
            retry_after: seconds.map(Duration::from_secs),
        };
        for (asked, retryable, verdict) in [
            (None, true, Verdict::Failed),
            (Some(0), true, Verdict::Failed),
            (Some(2), true, Verdict::Failed),
            (Some(3), false, Verdict::Pause(Duration::from_secs(3))),
            (Some(86_400), false, Verdict::Pause(MAX_UPSTREAM_PAUSE)),
        ] {
            let failure = throttled(asked);
            assert_eq!(
                (failure.is_retryable(), failure.verdict(true)),
                (retryable, verdict),
                "{asked:?}"
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
