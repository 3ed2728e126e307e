//! Promises: every Location is followed to a final state, which is the request's result, or agrees with what ran.

use std::ops::Range;
use std::time::Duration;

use super::{Case, ends};
use crate::judgement::{Rule, Violation};
use crate::record::{Call, End, Promise, Wish, meet};

/// Results that were promised and not there, or another's, or for work that ran after its end; and promises that
/// nobody followed.
pub(super) fn judge(case: &Case<'_>) -> Vec<Violation> {
    let violation = |number: u64, what: String| Violation {
        rule: Rule::Promises,
        number: Some(number),
        sentence: format!("request {number}: {what}"),
    };
    let broken = case.record.promises.iter();
    let mut found: Vec<_> = broken
        .filter_map(|promise| Some(violation(promise.number, reason(case, promise)?)))
        .collect();
    let promised = case.record.calls.iter().filter(|call| call.end == End::Promised);
    let forgotten = promised.filter(|call| !case.promises.contains_key(&call.number));
    found.extend(forgotten.map(|call| violation(call.number, "promised, and never asked for".to_owned())));
    found
}

fn reason(case: &Case<'_>, promise: &Promise) -> Option<String> {
    let Some(call) = case.calls.get(&promise.number) else {
        return Some("asked for, and never made".to_owned());
    };
    let runs = case.record.runs.count(promise.number);
    if promise.end == End::Ok && runs == 0 {
        return Some("has a result, and never ran".to_owned());
    }
    if promise.end.is_problem("cancelled") && promise.wish == Wish::Cancelled {
        return (runs > 0).then(|| "cancelled before it began, and ran".to_owned());
    }
    (!is_kept(case, call, promise, runs > 0)).then(|| {
        let ran = if runs > 0 { "ran" } else { "never ran" };
        format!("promised, and then {:?}, and it {ran}", promise.end)
    })
}

/// Whether a promise ended as it may.
fn is_kept(case: &Case<'_>, call: &Call, promise: &Promise, ran: bool) -> bool {
    let Some(name) = promise.end.problem() else {
        return promise.end == End::Ok && promise.wish != Wish::Cancelled;
    };
    let time = call.sent..promise.heard;
    let destroyed = case.record.disturbances.destroyed(&time);
    match name {
        // Gone with everything else.
        "unknown-request" => destroyed,
        "cancelled" => promise.wish == Wish::Either,
        // A result that was there is kept: only work that somebody dropped, or that took too long, ends without one.
        "expired" => ends::is_over(call, promise.heard) && (!ran || destroyed || was_dropped(case, call, &time)),
        "dead-lettered" | "upstream-failed" | "upstream-refused" | "upstream-timeout" | "upstream-unavailable" => {
            ends::why_not(case, call, name, &time).is_none()
        }
        _ => false,
    }
}

/// Whether the last run of a request may have come to no end.
fn was_dropped(case: &Case<'_>, call: &Call, time: &Range<Duration>) -> bool {
    let disturbances = &case.record.disturbances;
    let runs = case.record.runs.of_request(call.number);
    let Some(last) = runs.iter().max_by_key(|run| run.at) else {
        return false;
    };
    let took_too_long = last.at + case.record.work >= call.sent + call.budget;
    let is_sick = disturbances.upstream.iter().any(|sick| meet(sick, time));
    took_too_long || is_sick || disturbances.interrupted(last.worker, &(last.at..time.end))
}
