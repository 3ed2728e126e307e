//! Nothing vanishes on the side of those who ask: every number that was handed out is a call, once, with an end.

use std::collections::HashMap;

use super::{Case, by};
use crate::judgement::{Rule, Violation};
use crate::record::{Call, End};

/// Numbers without a call, calls that nobody closed or that are there twice, and what ran, or was set aside, that
/// nobody had asked for.
pub(super) fn judge(case: &Case<'_>) -> Vec<Violation> {
    let record = case.record;
    let of_run = |number: u64, what: &str| Violation {
        rule: Rule::Accounted,
        number: Some(number),
        sentence: format!("request {number}: {what}"),
    };
    let mut count: HashMap<u64, usize> = HashMap::new();
    for call in &record.calls {
        *count.entry(call.number).or_default() += 1;
    }
    let missing = (1..=record.issued).filter(|number| !count.contains_key(number));
    let mut found: Vec<_> = missing
        .map(|number| of_run(number, "asked, and nothing is known of it"))
        .collect();
    let ran = record
        .runs
        .numbers()
        .filter(|number| !(1..=record.issued).contains(number));
    found.extend(ran.map(|number| of_run(number, "ran, and nobody had asked for it")));
    let is_known = |letter: &Option<u64>| letter.is_some_and(|number| (1..=record.issued).contains(&number));
    let strange = record.dead_letters.iter().filter(|letter| !is_known(letter));
    found.extend(strange.map(|letter| Violation {
        rule: Rule::Accounted,
        number: *letter,
        sentence: "a dead letter of a request that nobody made".to_owned(),
    }));
    let wrong = |call: &Call| {
        // A reply that nobody asked for has no number, and is judged as what it is.
        let is_ours = (1..=record.issued).contains(&call.number) || matches!(call.end, End::Foreign(_));
        match call.end {
            End::Open => Some(by(Rule::Accounted, call, "whoever asked broke before it ended")),
            _ if !is_ours => Some(by(Rule::Accounted, call, "its number was never handed out")),
            _ if count[&call.number] > 1 && call.number > 0 => Some(by(Rule::Accounted, call, "recorded twice")),
            _ => None,
        }
    };
    found.extend(record.calls.iter().filter_map(wrong));
    found
}
