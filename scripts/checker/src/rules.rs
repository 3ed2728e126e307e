//! The rules, judged on a record and nothing else. None of them is ever weakened to make a run pass: what a run itself
//! breaks stands in its record's disturbances, each with its time.

mod account;
mod answers;
mod ends;
mod promises;
mod runs;

use std::collections::{HashMap, HashSet};

use crate::judgement::{Judgement, Rule, Violation};
use crate::record::{Call, End, Promise, Record};

/// Judges a record by every rule.
#[must_use]
pub fn judge(record: &Record) -> Judgement {
    let case = Case::of(record);
    let rules = [
        ends::judge,
        answers::wrong,
        answers::refused_and_ran,
        answers::duplicates,
        runs::again,
        runs::too_late,
        promises::judge,
        account::judge,
    ];
    let indeterminate = |call: &&Call| matches!(call.end, End::Broken(_) | End::TurnedAway | End::Left | End::Open);
    let admitted = record.calls.iter().filter(|call| call.is_admitted());
    Judgement {
        messages: record.calls.len(),
        accepted: admitted.filter(|call| !indeterminate(call)).count(),
        violations: rules.into_iter().flat_map(|rule| rule(&case)).collect(),
    }
}

/// A record, with what several rules look up in it.
struct Case<'a> {
    record: &'a Record,
    letters: HashSet<u64>,
    calls: HashMap<u64, &'a Call>,
    promises: HashMap<u64, &'a Promise>,
}

impl<'a> Case<'a> {
    fn of(record: &'a Record) -> Self {
        Self {
            record,
            letters: record.dead_letters.iter().copied().flatten().collect(),
            calls: record.calls.iter().map(|call| (call.number, call)).collect(),
            promises: record
                .promises
                .iter()
                .map(|promise| (promise.number, promise))
                .collect(),
        }
    }
}

/// A violation by what happened to a call.
fn by(rule: Rule, call: &Call, what: &str) -> Violation {
    Violation {
        rule,
        number: Some(call.number),
        sentence: format!("request {} at {:.2} s: {what}", call.number, call.sent.as_secs_f64()),
    }
}
