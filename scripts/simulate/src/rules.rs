//! What must hold in every history. The rules judge what was seen and nothing else; a theme may demand more.

mod answers;
mod promises;
mod shared;
mod shares;

use std::collections::BTreeMap;
use std::time::Duration;

use roundtrip::CorrelationId;

use crate::log::{Facts, Work};
use crate::world::Seen;

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// The invariant that it breaks.
    pub(crate) rule: &'static str,
    /// Of which piece of work; `None` where it is nobody's alone.
    pub(crate) work: Option<Work>,
    pub(crate) what: String,
}

/// A history, as the rules read it.
pub(crate) struct Case<'a> {
    pub(crate) seen: &'a Seen,
    pub(crate) works: BTreeMap<Work, Facts>,
    found: Vec<Violation>,
}

/// Judges a history.
pub(crate) fn judge(seen: &Seen) -> Vec<Violation> {
    let mut case = Case {
        seen,
        works: seen.log.facts(),
        found: Vec::new(),
    };
    for (work, what) in &seen.complaints {
        case.breaks("L  work is done where it can be", *work, what.clone());
    }
    answers::judge(&mut case);
    promises::judge(&mut case);
    shares::judge(&mut case);
    shared::judge(&mut case);
    leaks(&mut case);
    case.found
}

fn leaks(case: &mut Case<'_>) {
    const RULE: &str = "I5 nothing is left";
    let (depth, in_flight) = (case.seen.depth, case.seen.in_flight as u64);
    // Nobody is left to find out about those who died last.
    let dead = case
        .seen
        .halts
        .iter()
        .filter(|(_, time)| time.end == Duration::MAX)
        .count();
    let requesters = case.seen.requesters.saturating_sub(dead) as u64;
    let mut check = |left: u64, what: &str| {
        if left > 0 {
            case.breaks(RULE, None, format!("{left} {what} when everybody has left"));
        }
    };
    check(depth.waiting, "requests wait");
    check(depth.claimed, "requests are claimed");
    check(requesters, "requesters are known");
    check(depth.bytes, "bytes of requests are held");
    check(in_flight, "requests were in flight although nobody was asking");
}

impl Case<'_> {
    fn breaks(&mut self, rule: &'static str, work: Option<Work>, what: String) {
        self.found.push(Violation { rule, work, what });
    }

    fn facts(&self, work: Work) -> Facts {
        self.works.get(&work).cloned().unwrap_or_default()
    }

    /// When a request was published, and its budget.
    fn published(&self, id: CorrelationId) -> Option<(Duration, Duration)> {
        let work = self.seen.log.work_of(id)?;
        let published = self.works.get(&work)?.published.iter().find(|one| one.id == id)?;
        Some((published.at, published.budget))
    }

    /// Whether something was wrong with an instance in a time: it stood still, or died, or its way was bad.
    fn was_troubled(&self, name: &str, from: Duration, until: Duration) -> bool {
        let halted = self
            .seen
            .halts
            .iter()
            .any(|(halted, time)| halted == name && time.start <= until && from < time.end);
        let at = |kind: &str, before: usize| {
            let place: usize = name.strip_prefix(kind)?.split('.').next()?.parse().ok()?;
            self.seen.plan.spells.get(before + place)
        };
        let spells = at("ingress ", 0).or_else(|| at("worker ", self.seen.plan.ingresses));
        let bad = spells
            .into_iter()
            .flatten()
            .any(|spell| spell.time.start <= until && from < spell.time.end);
        halted || bad
    }

    /// Whether anything was broken in this history, besides the upstream.
    fn is_troubled(&self) -> bool {
        !self.seen.halts.is_empty() || self.seen.plan.spells.iter().any(|spells| !spells.is_empty())
    }
}
