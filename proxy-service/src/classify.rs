//! Why an attempt failed, and what follows from it. Nothing else decides what is retried, what counts
//! against an upstream, or what a caller is told.

use std::time::Duration;

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
    /// One attempt took longer than its timeout.
    AttemptTimeout,
    /// The caller's budget ran out, before or during the work.
    DeadlineExceeded,
    /// The upstream's circuit breaker is open; nothing was attempted.
    CircuitOpen {
        /// How long the breaker stays open at most.
        retry_after: Duration,
    },
    /// The handler panicked; the panic was caught.
    Panicked,
}
