//! What callers got: an end for everybody (I1), their own (I2), no refusal of what ran (I3), and only one (I4).

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::by;
use crate::judgement::{Rule, Violation};
use crate::record::{Call, End, Record, Via};

/// A kill is noted when it is done; the connection may have broken a moment before, or be seen broken after.
const KILL_TOLERANCE: Duration = Duration::from_millis(500);

/// Requests whose callers never got the end that they were promised.
pub(super) fn lost(record: &Record) -> Vec<Violation> {
    let letters: HashSet<u64> = record.dead_letters.iter().copied().flatten().collect();
    let disturbances = &record.disturbances;
    let reason = |call: &Call| {
        let in_destruction = disturbances.destroyed(call);
        let killed = match call.via {
            Via::Ingress(instance) => disturbances
                .kills
                .get(&instance)
                .is_some_and(|at| call.sent <= *at + KILL_TOLERANCE && *at <= call.ended() + KILL_TOLERANCE),
            Via::Wire => false,
        };
        match &call.end {
            End::Silent if killed || in_destruction => None,
            End::Silent => Some("no answer at all".to_owned()),
            End::Broken(_) if killed => None,
            End::Broken(how) => Some(format!("the connection broke: {how}")),
            End::Problem(..) if call.is_problem("reply-timeout") && !in_destruction => {
                Some("accepted, and then reply-timeout".to_owned())
            }
            End::Problem(..) if call.is_problem("outcome-unknown") && !disturbances.is_uncertain(call) => {
                Some("outcome-unknown without a fault of redis".to_owned())
            }
            End::Problem(..) if call.is_problem("dead-lettered") && !letters.contains(&call.number) => {
                Some("dead-lettered, and there is no dead letter".to_owned())
            }
            // An answer, and set aside as well: the dead letter is not the request's one end.
            End::Ok if letters.contains(&call.number) => Some("answered, and a dead letter too".to_owned()),
            _ => None,
        }
    };
    let calls = record.calls.iter();
    calls
        .filter_map(|call| reason(call).map(|reason| by(Rule::I1, call, &reason)))
        .collect()
}

/// Answers that are another's, or none of ours.
pub(super) fn wrong(record: &Record) -> Vec<Violation> {
    let wrong = |call: &Call| match &call.end {
        End::Foreign(other) => Some(by(Rule::I2, call, &format!("got the answer of {other}"))),
        End::Damaged(how) => Some(by(Rule::I2, call, how)),
        _ => None,
    };
    record.calls.iter().filter_map(wrong).collect()
}

/// Refusals of what ran.
pub(super) fn refused_and_ran(record: &Record) -> Vec<Violation> {
    let calls = record.calls.iter();
    let ran = calls.filter(|call| call.is_refused() && record.runs.count(call.number) > 0);
    ran.map(|call| by(Rule::I3, call, &format!("ended in {:?} and ran", call.end)))
        .collect()
}

/// Second replies: those that were seen, and those that came when nobody waited and that no caller explains who left.
pub(super) fn duplicates(record: &Record) -> Vec<Violation> {
    let twice = record.calls.iter().filter(|call| call.answers > 1);
    let mut found: Vec<_> = twice
        .map(|call| by(Rule::I4, call, &format!("{} answers", call.answers)))
        .collect();
    let mut gone: HashMap<u32, u64> = HashMap::new();
    for call in &record.calls {
        let Via::Ingress(instance) = call.via else { continue };
        // Whoever left without the reply may have one come late; so may what was made twice by its destruction.
        let left = matches!(call.end, End::Silent | End::Broken(_))
            || call.is_problem("reply-timeout")
            || call.is_problem("outcome-unknown");
        if left || record.disturbances.destroyed(call) {
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
