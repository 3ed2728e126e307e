//! The rules, judged on a record and nothing else. None of them is ever weakened to make a run pass: what a run itself
//! destroys stands in its record's disturbances.

mod answers;
mod promises;

use crate::judgement::{Judgement, Rule, Violation};
use crate::record::{Call, End, Record};

/// Judges a record by every rule.
#[must_use]
pub fn judge(record: &Record) -> Judgement {
    let indeterminate = |call: &&Call| matches!(call.end, End::Broken(_) | End::TurnedAway);
    let admitted = record.calls.iter().filter(|call| call.is_admitted());
    let mut violations = answers::lost(record);
    violations.extend(answers::wrong(record));
    violations.extend(answers::refused_and_ran(record));
    violations.extend(answers::duplicates(record));
    violations.extend(promises::broken(record));
    Judgement {
        messages: record.calls.len(),
        accepted: admitted.filter(|call| !indeterminate(call)).count(),
        violations,
    }
}

/// A violation by what a call got.
fn by(rule: Rule, call: &Call, what: &str) -> Violation {
    Violation {
        rule,
        number: Some(call.number),
        sentence: format!("request {} at {:.2} s: {what}", call.number, call.sent.as_secs_f64()),
    }
}
