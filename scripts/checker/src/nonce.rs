//! The name of one request, which is the city it asks for. No two requests of a run share one, so that an answer
//! says by itself whose it is.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// What the worker does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum Temper {
    /// Answers it.
    Good,
    /// Answers it, after so long that its lease must be renewed.
    Slow,
    /// Panics on it, each time.
    Panics,
    /// Aborts the process on it, each time.
    Aborts,
}

impl Temper {
    /// Whether no worker can ever answer it.
    #[must_use]
    pub fn is_poison(self) -> bool {
        matches!(self, Self::Panics | Self::Aborts)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Slow => "slow",
            Self::Panics => "panics",
            Self::Aborts => "aborts",
        }
    }
}

/// The name of one request of one run, for example `good-9f3a01c2-42`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Nonce {
    /// What the worker does with it.
    pub temper: Temper,
    /// Which run it belongs to.
    pub run: u32,
    /// Which request of the run this is.
    pub number: u64,
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:08x}-{}", self.temper.name(), self.run, self.number)
    }
}

/// A text that names no request of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoNonce;

impl fmt::Display for NoNonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a nonce looks like good-9f3a01c2-42")
    }
}

impl std::error::Error for NoNonce {}

impl FromStr for Nonce {
    type Err = NoNonce;

    fn from_str(text: &str) -> Result<Self, NoNonce> {
        let mut parts = text.split('-');
        let temper = match parts.next() {
            Some("good") => Temper::Good,
            Some("slow") => Temper::Slow,
            Some("panics") => Temper::Panics,
            Some("aborts") => Temper::Aborts,
            _ => return Err(NoNonce),
        };
        let run = parts.next().and_then(|run| u32::from_str_radix(run, 16).ok());
        let number = parts.next().and_then(|number| number.parse().ok());
        match (run, number, parts.next()) {
            (Some(run), Some(number), None) => Ok(Self { temper, run, number }),
            _ => Err(NoNonce),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_back_as_it_was_written() {
        for temper in [Temper::Good, Temper::Slow, Temper::Panics, Temper::Aborts] {
            let nonce = Nonce {
                temper,
                run: 7,
                number: u64::MAX,
            };
            assert_eq!(nonce.to_string().parse::<Nonce>().unwrap(), nonce);
        }
    }

    #[test]
    fn a_real_city_is_no_nonce() {
        for text in ["Oslo", "good-x-1", "good-00000001", "good-00000001-1-2", ""] {
            assert_eq!(text.parse::<Nonce>(), Err(NoNonce), "{text:?}");
        }
    }
}
