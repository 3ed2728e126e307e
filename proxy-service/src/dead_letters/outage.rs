//! Failures of the broker, as an operator is told of them: the cause goes to the log, never into the answer.

use std::time::Duration;

use roundtrip::BrokerError;
use roundtrip::broker::BrokerErrorKind;
use roundtrip::http::problem::{Problem, ProblemType};
use roundtrip::process::logging::with_causes;

/// When to come back. The connection is looked after once a second.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Of a call that changes nothing, so that there is no outcome to be unsure of.
pub(super) fn while_reading(error: &BrokerError) -> Problem {
    log(error);
    match error.kind() {
        BrokerErrorKind::Rejected => refused(),
        _ => away("the broker does not answer at the moment"),
    }
}

/// Of a call that changes something.
pub(super) fn while_changing(error: &BrokerError) -> Problem {
    log(error);
    match error.kind() {
        BrokerErrorKind::Unconfirmed => {
            // Repeating it is safe: a letter leaves in the same step.
            let detail = "the broker did not confirm it in time; if the letter is still there, nothing happened";
            Problem::new(ProblemType::OutcomeUnknown, detail)
        }
        BrokerErrorKind::Rejected => refused(),
        _ => away("the broker does not answer at the moment; nothing was changed"),
    }
}

fn refused() -> Problem {
    let detail = "the broker does not allow this; the log of this proxy says why";
    Problem::new(ProblemType::Internal, detail)
}

fn away(detail: &'static str) -> Problem {
    Problem::new(ProblemType::BrokerUnavailable, detail).retry_after(RETRY_AFTER)
}

fn log(error: &BrokerError) {
    tracing::warn!(error = with_causes(error), "the broker failed an operator's call");
}

#[cfg(test)]
mod tests {
    use axum::http::header::RETRY_AFTER;
    use axum::response::IntoResponse as _;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(
        BrokerErrorKind::Unavailable,
        ProblemType::BrokerUnavailable,
        ProblemType::BrokerUnavailable
    )]
    #[case(
        BrokerErrorKind::CircuitOpen,
        ProblemType::BrokerUnavailable,
        ProblemType::BrokerUnavailable
    )]
    #[case(
        BrokerErrorKind::Loading,
        ProblemType::BrokerUnavailable,
        ProblemType::BrokerUnavailable
    )]
    #[case(
        BrokerErrorKind::Unconfirmed,
        ProblemType::BrokerUnavailable,
        ProblemType::OutcomeUnknown
    )]
    #[case(BrokerErrorKind::Rejected, ProblemType::Internal, ProblemType::Internal)]
    fn only_a_change_may_have_an_unknown_outcome(
        #[case] kind: BrokerErrorKind,
        #[case] reading: ProblemType,
        #[case] changing: ProblemType,
    ) {
        let error = BrokerError::new(kind, "do it", "a secret cause");
        for (problem, expected) in [(while_reading(&error), reading), (while_changing(&error), changing)] {
            assert_eq!(problem.kind(), expected);
            assert!(!format!("{problem:?}").contains("secret"), "{problem:?}");
            let says_when = problem.into_response().headers().contains_key(RETRY_AFTER);
            assert_eq!(says_when, expected == ProblemType::BrokerUnavailable);
        }
    }
}
