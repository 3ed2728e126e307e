//! How long a simulated answer takes.

use std::error::Error;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;
use std::time::Duration;

/// The longest latency accepted: longer than any caller's patience, so more can only be a slip.
const MAX_LATENCY: Duration = Duration::from_secs(600);

/// A latency, or a range to pick one from.
///
/// As text a duration such as `0ms` or `2s`, or a range such as `100ms..500ms`, both ends included;
/// at most 10 minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    /// The shortest latency.
    pub min: Duration,
    /// The longest latency, not below `min`.
    pub max: Duration,
}

/// Why a text is no [`Latency`].
#[derive(Debug)]
pub enum ParseLatencyError {
    /// The text, or an end of the range, is no duration.
    Duration {
        /// The text that could not be read.
        text: String,
        /// What is wrong with it.
        source: humantime::DurationError,
    },
    /// The range ends before it starts.
    Reversed,
    /// The latency is longer than 10 minutes.
    TooLong,
}

impl Latency {
    /// A latency from the range, each equally likely.
    pub(super) fn pick(&self) -> Duration {
        let span = self.max.saturating_sub(self.min);
        let span = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        // Every RandomState has other keys, which is as random as a latency needs to be.
        let random = RandomState::new().hash_one(());
        self.min
            .saturating_add(Duration::from_nanos(random % span.saturating_add(1)))
    }
}

impl FromStr for Latency {
    type Err = ParseLatencyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (min, max) = text.split_once("..").unwrap_or((text, text));
        let (min, max) = (duration(min)?, duration(max)?);
        if min > max {
            return Err(ParseLatencyError::Reversed);
        }
        if max > MAX_LATENCY {
            return Err(ParseLatencyError::TooLong);
        }
        Ok(Self { min, max })
    }
}

fn duration(text: &str) -> Result<Duration, ParseLatencyError> {
    let text = text.trim();
    humantime::parse_duration(text).map_err(|source| ParseLatencyError::Duration {
        text: text.to_owned(),
        source,
    })
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", humantime::format_duration(self.min))?;
        if self.max != self.min {
            write!(f, "..{}", humantime::format_duration(self.max))?;
        }
        Ok(())
    }
}

impl fmt::Display for ParseLatencyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duration { text, .. } => {
                write!(
                    f,
                    "\"{text}\" is no duration such as 2s, nor a range such as 100ms..500ms"
                )
            }
            Self::Reversed => f.write_str("latency range ends before it starts"),
            Self::TooLong => f.write_str("latency is longer than 10 minutes"),
        }
    }
}

impl Error for ParseLatencyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Duration { source, .. } => Some(source),
            Self::Reversed | Self::TooLong => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("0ms", 0, 0)]
    #[case("2s", 2000, 2000)]
    #[case("100ms..500ms", 100, 500)]
    #[case(" 0s .. 1m 30s ", 0, 90_000)]
    #[case("10m", 600_000, 600_000)]
    fn latency_reads_a_duration_or_a_range_and_round_trips(#[case] text: &str, #[case] min: u64, #[case] max: u64) {
        let latency: Latency = text.parse().unwrap();
        let [min, max] = [min, max].map(Duration::from_millis);
        assert_eq!(latency, Latency { min, max });
        assert_eq!(latency.to_string().parse::<Latency>().unwrap(), latency);
    }

    #[rstest]
    #[case("", "\"\" is no duration such as 2s, nor a range such as 100ms..500ms")]
    #[case("fast", "\"fast\" is no duration such as 2s, nor a range such as 100ms..500ms")]
    #[case("1s..", "\"\" is no duration such as 2s, nor a range such as 100ms..500ms")]
    #[case("500ms..100ms", "latency range ends before it starts")]
    #[case("1s..11m", "latency is longer than 10 minutes")]
    fn a_bad_latency_is_refused_with_the_reason(#[case] text: &str, #[case] reason: &str) {
        assert_eq!(text.parse::<Latency>().unwrap_err().to_string(), reason);
    }

    #[test]
    fn picks_cover_the_range_and_never_leave_it() {
        let latency: Latency = "100ms..500ms".parse().unwrap();
        let picks: Vec<Duration> = (0..1000).map(|_| latency.pick()).collect();
        assert!(picks.iter().all(|pick| (latency.min..=latency.max).contains(pick)));
        assert!(picks.iter().any(|pick| *pick < Duration::from_millis(200)));
        assert!(picks.iter().any(|pick| *pick > Duration::from_millis(400)));
    }
}
