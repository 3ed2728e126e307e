//! Findings: what was expected, what was measured, and whether that is good.

use std::time::Duration;

use serde::Serialize;

/// One expectation, judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What is expected.
    pub expected: String,
    /// What was measured.
    pub measured: String,
    /// Whether that is as expected.
    pub passed: bool,
}

impl Finding {
    /// A finding of these.
    #[must_use]
    pub fn new(expected: impl Into<String>, passed: bool, measured: impl Into<String>) -> Self {
        Self {
            expected: expected.into(),
            measured: measured.into(),
            passed,
        }
    }

    /// Expects that there is nothing of the kind, and names the first few where there is.
    #[must_use]
    pub fn none(expected: impl Into<String>, examples: &[String]) -> Self {
        const NAMED: usize = 3;
        let measured = match examples {
            [] => "none".to_owned(),
            some => format!("{}: {}", some.len(), some[..some.len().min(NAMED)].join("; ")),
        };
        Self::new(expected, examples.is_empty(), measured)
    }

    /// Expects that the longest of some times is within a limit; that there was none at all fails.
    #[must_use]
    pub fn within(expected: impl Into<String>, limit: Duration, times: &[Duration]) -> Self {
        let longest = times.iter().max();
        let measured = match longest {
            Some(longest) => format!("at most {} in {}", seconds(*longest), times.len()),
            None => "never seen".to_owned(),
        };
        Self::new(expected, longest.is_some_and(|longest| *longest <= limit), measured)
    }
}

/// A duration as people read it.
#[must_use]
pub fn seconds(time: Duration) -> String {
    match time {
        time if time < Duration::from_millis(100) => format!("{:.1} ms", time.as_secs_f64() * 1000.0),
        time => format!("{:.2} s", time.as_secs_f64()),
    }
}

/// The value below which this share of some values lies; `None` of none.
#[must_use]
pub fn quantile(times: &[Duration], share: f64) -> Option<Duration> {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let place = ((sorted.len() as f64 * share).ceil() as usize).saturating_sub(1);
    sorted.get(place).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let times: Vec<_> = (1..=100).rev().map(Duration::from_secs).collect();
        assert_eq!(quantile(&times, 0.5), Some(Duration::from_secs(50)));
        assert_eq!(quantile(&times, 0.99), Some(Duration::from_secs(99)));
        assert_eq!(quantile(&times, 1.0), Some(Duration::from_secs(100)));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn what_was_never_seen_is_not_within_any_limit() {
        let limit = Duration::from_secs(1);
        assert!(!Finding::within("x", limit, &[]).passed);
        assert!(Finding::within("x", limit, &[limit]).passed);
        assert!(!Finding::within("x", limit, &[limit * 2, limit]).passed);
    }
}
