//! How a request can fail. Every request ends as a success or with exactly one of these kinds.

use std::fmt;

/// What went wrong, as reports group it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// No complete answer within the timeout.
    Timeout,
    /// No connection could be made.
    Connect,
    /// The connection ended before the answer did.
    Reset,
    /// Answered with 503: not accepted.
    Status503,
    /// Answered with 504: no reply in time.
    Status504,
    /// Answered with another status than 200, 503 or 504.
    StatusOther,
    /// Answered well, but for another place than the one asked for.
    WrongAnswer,
    /// Not HTTP, not JSON, or without one of the fields.
    Unreadable,
}

impl FailureKind {
    /// All kinds, in the order of reports. A kind's place here is its discriminant.
    pub const ALL: [Self; 8] = [
        Self::Timeout,
        Self::Connect,
        Self::Reset,
        Self::Status503,
        Self::Status504,
        Self::StatusOther,
        Self::WrongAnswer,
        Self::Unreadable,
    ];

    /// The name in reports, for example `status_503`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::Status503 => "status_503",
            Self::Status504 => "status_504",
            Self::StatusOther => "status_other",
            Self::WrongAnswer => "wrong_answer",
            Self::Unreadable => "unreadable",
        }
    }
}

/// One failed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What it counts as.
    pub kind: FailureKind,
    /// What happened, in words; reports show the first of each kind.
    pub detail: String,
}

impl Failure {
    /// A failure of `kind`, with what happened in words.
    pub fn new(kind: FailureKind, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { kind, detail }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.name(), self.detail)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kinds_place_in_the_list_is_its_discriminant() {
        for (place, kind) in FailureKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place);
        }
    }
}
