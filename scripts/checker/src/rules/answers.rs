//! What callers got is their own (I2), no refusal of what ran (I3), and only one (I4).

use std::collections::HashMap;
use std::time::Duration;

use super::{Case, by};
use crate::judgement::{Rule, Violation};
use crate::record::{Call, End, Record, Via};

/// A reply is removed with the read that follows at once on the one that handed it out, as fast as a busy machine is.
const REMOVAL: Duration = Duration::from_millis(100);

/// Answers that are another's, or none of ours, or of work that nobody did.
pub(super) fn wrong(case: &Case<'_>) -> Vec<Violation> {
    let wrong = |call: &Call| match &call.end {
        End::Foreign(other) => Some(by(Rule::I2, call, &format!("got the answer of {other}"))),
        End::Damaged(how) => Some(by(Rule::I2, call, how)),
        End::Ok if case.record.runs.count(call.number) == 0 => Some(by(Rule::I2, call, "answered, and never ran")),
        _ => None,
    };
    case.record.calls.iter().filter_map(wrong).collect()
}

/// Refusals of what ran.
pub(super) fn refused_and_ran(case: &Case<'_>) -> Vec<Violation> {
    let calls = case.record.calls.iter();
    let ran = calls.filter(|call| call.is_refused() && case.record.runs.count(call.number) > 0);
    ran.map(|call| by(Rule::I3, call, &format!("ended in {:?} and ran", call.end)))
        .collect()
}

/// Second replies: those that were seen, and those that came when nobody waited and that no caller explains who left.
pub(super) fn duplicates(case: &Case<'_>) -> Vec<Violation> {
    let record = case.record;
    let twice = record.calls.iter().filter(|call| call.answers > 1);
    let mut found: Vec<_> = twice
        .map(|call| by(Rule::I4, call, &format!("{} answers", call.answers)))
        .collect();
    let mut gone: HashMap<u32, u64> = HashMap::new();
    for call in &record.calls {
        let Via::Ingress(instance) = call.via else { continue };
        // What was made twice by its destruction has a second reply.
        if has_left(call) || is_read_again(record, call) || record.disturbances.destroyed(&call.time()) {
            *gone.entry(instance).or_default() += 1;
        }
    }
    for (instance, late) in &record.late_replies {
        let allowed = gone.get(instance).copied().unwrap_or(0);
        // One for each, since each is a reply too many.
        let surplus = Violation {
            rule: Rule::I4,
            number: None,
            sentence: format!("ingress {instance}: {late} late replies, {allowed} callers had left"),
        };
        found.extend((0..late.saturating_sub(allowed)).map(|_| surplus.clone()));
    }
    found
}

/// Whether the broker was lost between a reply and its removal: the ingress finds it in its stream again.
fn is_read_again(record: &Record, call: &Call) -> bool {
    let mut losses = record.disturbances.uncertain.iter().map(|time| time.start);
    losses.any(|lost| call.ended().abs_diff(lost) <= REMOVAL)
}

/// Whether a call may have ended without its reply, which comes late then.
fn has_left(call: &Call) -> bool {
    match call.end {
        End::Silent | End::Left | End::Broken(_) | End::Open => true,
        End::Promised => !call.wait.is_zero(),
        // Nobody writes a reply to who does not wait.
        _ if call.wait.is_zero() => false,
        // The answer at the end of a wait is read off the record, a moment before the reply is there.
        _ => call.took >= call.wait || call.is_problem("reply-timeout") || call.is_problem("outcome-unknown"),
    }
}
