//! What the rules say: every violation by its rule and its request, and findings that people read.

use std::fmt;

use crate::finding::Finding;

/// A rule that always holds, whatever is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// An accepted request ends in exactly one of: a reply, a dead letter with its error reply, an `expired`.
    I1,
    /// No reply reaches a caller who did not ask for it, and none arrives damaged.
    I2,
    /// What was refused never ran.
    I3,
    /// At most one reply for each request.
    I4,
    /// A request runs once, and again only where what ran it was interrupted.
    Once,
    /// No request begins to run after its time.
    InTime,
    /// Every promise is followed to its end, and kept.
    Promises,
    /// Every request that was made has its call, and every call its end.
    Accounted,
}

/// Something that should not have happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Of which rule.
    pub rule: Rule,
    /// The request it happened to, where it is one.
    pub number: Option<u64>,
    /// What happened, in a sentence that names the request.
    pub sentence: String,
}

/// What the rules say about a record.
#[derive(Debug, Clone)]
pub struct Judgement {
    /// Requests that were made.
    pub messages: usize,
    /// Requests that the service took on and answered.
    pub accepted: usize,
    /// Everything that does not hold, rule by rule.
    pub violations: Vec<Violation>,
}

impl Rule {
    /// All rules, in the order in which they are told.
    pub const ALL: [Self; 8] = [
        Self::I1,
        Self::I2,
        Self::I3,
        Self::I4,
        Self::Once,
        Self::InTime,
        Self::Promises,
        Self::Accounted,
    ];

    /// What is expected.
    #[must_use]
    pub fn expected(self) -> &'static str {
        match self {
            Self::I1 => "I1 every accepted request ends in an answer",
            Self::I2 => "I2 no answer is another's or damaged",
            Self::I3 => "I3 what was refused never ran",
            Self::I4 => "I4 at most one answer for each request",
            Self::Once => "runs once, and again only where it was dropped",
            Self::InTime => "nothing begins after its time",
            Self::Promises => "every promise is kept",
            Self::Accounted => "every request is accounted for",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected())
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl Judgement {
    /// Violations of one rule.
    pub fn of(&self, rule: Rule) -> impl Iterator<Item = &Violation> {
        self.violations.iter().filter(move |violation| violation.rule == rule)
    }

    /// How often a rule was violated.
    #[must_use]
    pub fn count(&self, rule: Rule) -> usize {
        self.of(rule).count()
    }

    /// Whether every rule holds.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.violations.is_empty()
    }

    /// A finding for each rule.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let finding = |rule: Rule| {
            let examples: Vec<_> = self.of(rule).map(|violation| violation.sentence.clone()).collect();
            Finding::none(rule.expected(), &examples)
        };
        Rule::ALL.into_iter().map(finding).collect()
    }
}
