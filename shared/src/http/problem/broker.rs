//! What callers are told when the broker failed them. The cause goes to the log, never into an answer.

use std::time::Duration;

use super::{Problem, ProblemType};
use crate::broker::{BrokerError, BrokerErrorKind};
use crate::process::logging::with_causes;

/// When to come back while the broker is away: each second it is looked for.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What the broker was asked for when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// To read something: there is no outcome to be unsure of.
    ToRead,
    /// To change what is there. Whoever looks at it again knows what happened.
    ToChange,
    /// To accept a request.
    ToAccept,
}

impl Problem {
    /// What a caller is told of a broker's failure, which is logged.
    #[must_use]
    pub fn of_broker(error: &BrokerError, asked: Asked) -> Self {
        let cause = with_causes(error);
        match error.kind() {
            BrokerErrorKind::Rejected => {
                tracing::warn!(error = cause, "the broker does not allow what it was asked for")
            }
            _ => tracing::debug!(error = cause, "the broker could not be asked"),
        }
        Self::of_broker_kind(error.kind(), asked)
    }

    /// The same of a failure that is logged already.
    #[must_use]
    pub fn of_broker_kind(kind: BrokerErrorKind, asked: Asked) -> Self {
        match (kind, asked) {
            (BrokerErrorKind::Unconfirmed, Asked::ToChange) => {
                let detail = "the broker did not confirm in time; look again to see what happened";
                Self::new(ProblemType::OutcomeUnknown, detail)
            }
            (BrokerErrorKind::Unconfirmed, Asked::ToAccept) => {
                let detail = "the broker did not confirm the request in time; it may run all the same";
                Self::new(ProblemType::OutcomeUnknown, detail)
            }
            (BrokerErrorKind::Rejected, Asked::ToRead | Asked::ToChange) => {
                let detail = "the broker does not allow this; the log of this service says why";
                Self::new(ProblemType::Internal, detail)
            }
            (BrokerErrorKind::Full, Asked::ToAccept) => {
                away("the broker has no room for more requests; this one was not accepted")
            }
            (_, Asked::ToAccept) => away("the broker cannot take requests at the moment; this one was not accepted"),
            (_, Asked::ToChange) => away("the broker does not answer at the moment; nothing was changed"),
            (_, Asked::ToRead) => away("the broker does not answer at the moment"),
        }
    }
}

fn away(detail: &'static str) -> Problem {
    Problem::new(ProblemType::BrokerUnavailable, detail).retry_after(RETRY_AFTER)
}

#[cfg(test)]
mod tests {
    use super::ProblemType::{BrokerUnavailable, Internal, OutcomeUnknown};
    use super::*;
    use axum::http::header;
    use axum::response::IntoResponse as _;

    #[test]
    fn only_what_changes_something_may_have_an_unknown_outcome() {
        for (kind, expected) in [
            (BrokerErrorKind::Unavailable, [BrokerUnavailable; 3]),
            (BrokerErrorKind::CircuitOpen, [BrokerUnavailable; 3]),
            (BrokerErrorKind::Loading, [BrokerUnavailable; 3]),
            (BrokerErrorKind::Full, [BrokerUnavailable; 3]),
            (
                BrokerErrorKind::Unconfirmed,
                [BrokerUnavailable, OutcomeUnknown, OutcomeUnknown],
            ),
            // Who may not publish now is let in once an operator has seen to it.
            (BrokerErrorKind::Rejected, [Internal, Internal, BrokerUnavailable]),
        ] {
            check(kind, expected);
        }
    }

    fn check(kind: BrokerErrorKind, expected: [ProblemType; 3]) {
        let error = BrokerError::new(kind, "do it", "a secret cause");
        for (asked, expected) in [Asked::ToRead, Asked::ToChange, Asked::ToAccept]
            .into_iter()
            .zip(expected)
        {
            let problem = Problem::of_broker(&error, asked);
            assert_eq!(problem.kind(), expected, "{asked:?}");
            assert!(!format!("{problem:?}").contains("secret"), "{problem:?}");
            let says_when = problem.into_response().headers().contains_key(header::RETRY_AFTER);
            assert_eq!(says_when, expected == BrokerUnavailable, "{asked:?}");
        }
    }
}
