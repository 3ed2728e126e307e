//! What a caller is told who is not let in. The rule: when to come back is computed, and differs from caller
//! to caller, so that those who were refused together do not return together.

use std::time::Duration;

use roundtrip::CorrelationId;
use roundtrip::http::problem::{Problem, ProblemType};

/// What Retry-After says at least and at most.
const SOONEST: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_secs(60);

/// The reason of [`Rejection::EventStreams`] in metrics.
pub(crate) const EVENT_STREAMS: &str = "event_streams";

/// Why a request was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// The maximum is in flight. Holds the time in which all of these are answered, where it is known.
    InFlight(Option<Duration>),
    /// What is ahead takes too long.
    QueueWait {
        /// The predicted wait.
        wait: Duration,
        /// How long it may be.
        longest: Duration,
    },
    /// The oldest waiting request has waited for this long, which is too long.
    QueueAge(Duration),
    /// What is ahead takes longer than jobs may make others wait.
    QueueShare {
        /// The predicted wait.
        wait: Duration,
        /// How long it may be for a job to be let in.
        longest: Duration,
    },
    /// As many requests wait as may when a job is let in whose wait nobody knows.
    QueueLength {
        /// How many wait.
        waiting: u64,
        /// How many may.
        most: u64,
    },
    /// The requests in the broker take what they may when a job is let in.
    QueueBytes {
        /// What they take.
        bytes: u64,
        /// What they may take.
        most: u64,
    },
    /// The broker has little memory left.
    Memory,
    /// Too many calls wait for requests that others made.
    Followers,
    /// Too many streams of events are open.
    EventStreams,
}

impl Rejection {
    /// Its name in metrics.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::InFlight(_) => "overloaded",
            Self::QueueWait { .. } => "queue_wait",
            Self::QueueAge(_) => "queue_age",
            Self::QueueShare { .. } | Self::QueueLength { .. } | Self::QueueBytes { .. } => "queue_share",
            Self::Memory => "memory",
            Self::Followers => "followers",
            Self::EventStreams => EVENT_STREAMS,
        }
    }

    /// What the caller gets whose request has this id.
    pub(crate) fn problem(self, id: CorrelationId) -> Problem {
        Problem::new(ProblemType::Overloaded, self.detail()).retry_after(self.retry_after(random_part(id)))
    }

    fn detail(self) -> String {
        match self {
            Self::InFlight(_) => {
                "as many requests as this instance takes are in flight; this one was not accepted".to_owned()
            }
            Self::QueueWait { wait, longest } => format!(
                "the predicted wait is {:.1} s, and this request may wait for {:.1} s; it was not accepted",
                wait.as_secs_f64(),
                longest.as_secs_f64()
            ),
            Self::QueueAge(age) => format!(
                "the oldest request has been waiting for {:.1} s, which is too long; this one was not accepted",
                age.as_secs_f64()
            ),
            Self::QueueShare { wait, longest } => format!(
                "the predicted wait is {:.1} s, and beyond {:.1} s only callers are let in who wait for the answer; this \
                 request was not accepted",
                wait.as_secs_f64(),
                longest.as_secs_f64()
            ),
            Self::QueueLength { waiting, most } => format!(
                "{waiting} requests wait, and beyond {most} only callers are let in who wait for the answer; this request \
                 was not accepted"
            ),
            Self::QueueBytes { bytes, most } => format!(
                "the requests in the queue take {bytes} bytes, and beyond {most} only callers are let in who wait for the \
                 answer; this request was not accepted"
            ),
            Self::Memory => {
                "the broker keeps what memory it has left for requests that were accepted; this one was not".to_owned()
            }
            Self::Followers => "the Idempotency-Key names a request at work, which goes on and can be asked for at \
                                Location; as many calls as this instance takes wait for such requests"
                .to_owned(),
            Self::EventStreams => "as many streams of events as this instance takes are open".to_owned(),
        }
    }

    /// When to come back; `part`, 0 to 1, says where between the earliest and the latest time that make sense.
    fn retry_after(self, part: f64) -> Duration {
        let (earliest, latest) = match self {
            // From the first place that becomes free to the last.
            Self::InFlight(Some(turnover)) => (Duration::ZERO, turnover),
            Self::InFlight(None) => (SOONEST, SOONEST * 2),
            // Nothing is known of how long it takes, and whoever does not wait has time.
            Self::QueueLength { .. } | Self::QueueBytes { .. } => (SOONEST, SOONEST * 10),
            // As long as it takes to work something off.
            Self::Memory => (SOONEST, SOONEST * 5),
            // How long the others stay is theirs to decide.
            Self::Followers | Self::EventStreams => (SOONEST, SOONEST * 5),
            // From when the queue is short enough to when all that waits now was begun.
            Self::QueueWait { wait, longest } | Self::QueueShare { wait, longest } => {
                (wait.saturating_sub(longest), wait)
            }
            // Nothing is known but for how long it has not worked: about as long again.
            Self::QueueAge(age) => (age / 2, age),
        };
        (earliest + (latest.saturating_sub(earliest)).mul_f64(part)).clamp(SOONEST, LATEST)
    }
}

/// The last bytes of a version 7 UUID are random; the very last one chooses the shard of `pending`.
fn random_part(id: CorrelationId) -> f64 {
    let id = id.as_uuid();
    let bytes = id.as_bytes();
    f64::from(u16::from_be_bytes([bytes[13], bytes[14]])) / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(refusal: Rejection) -> [u64; 3] {
        [0.0, 0.5, 1.0].map(|part| refusal.retry_after(part).as_secs())
    }

    #[test]
    fn callers_come_back_between_the_first_moment_that_makes_sense_and_the_last() {
        let wait = Rejection::QueueWait {
            wait: Duration::from_secs(30),
            longest: Duration::from_secs(22),
        };
        assert_eq!(seconds(wait), [8, 19, 30]);
        assert_eq!(seconds(Rejection::InFlight(Some(Duration::from_secs(8)))), [1, 4, 8]);
        assert_eq!(seconds(Rejection::QueueAge(Duration::from_secs(16))), [8, 12, 16]);
    }

    #[test]
    fn nobody_is_sent_away_for_less_than_a_second_or_more_than_a_minute() {
        let short = Rejection::QueueWait {
            wait: Duration::from_millis(160),
            longest: Duration::from_millis(150),
        };
        assert_eq!(seconds(short), [1, 1, 1]);
        assert_eq!(seconds(Rejection::QueueAge(Duration::from_secs(600))), [60, 60, 60]);
        assert_eq!(seconds(Rejection::InFlight(None)), [1, 1, 2]);
    }

    #[test]
    fn the_time_differs_from_request_to_request() {
        let parts: Vec<_> = (0..100).map(|_| random_part(CorrelationId::new())).collect();
        assert!(parts.iter().any(|part| *part < 0.3) && parts.iter().any(|part| *part > 0.7));
    }
}
