//! I1: every request ends in one of the ways it may, and each of these only where something explains it. Whatever is
//! not named here is never a good end.

use std::ops::Range;
use std::time::Duration;

use super::{Case, by};
use crate::judgement::{Rule, Violation};
use crate::record::{Call, End, Via, Wish, meet};

/// A kill is noted when it is done; the connection may have broken a moment before, or be seen broken after.
const KILL_TOLERANCE: Duration = Duration::from_millis(500);

/// A publish that was under way when the broker came back fails within this time.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(1);

/// Work without room is told this long before its end, so that the answer is in time (0.7 s, and a look at the clock).
pub(super) const EARLY: Duration = Duration::from_secs(1);

/// The longest pause that an upstream is given, which may begin at the end of its sickness.
const UPSTREAM_PAUSE: Duration = Duration::from_secs(30);

/// Requests that did not end, or not as they may.
pub(super) fn judge(case: &Case<'_>) -> Vec<Violation> {
    let calls = case.record.calls.iter();
    let violation = |call| Some(by(Rule::I1, call, &reason(case, call)?));
    calls.filter_map(violation).collect()
}

/// Why a call's end is none, or a wrong one.
fn reason(case: &Case<'_>, call: &Call) -> Option<String> {
    let disturbances = &case.record.disturbances;
    let destroyed = disturbances.destroyed(&call.time());
    let killed = match call.via {
        Via::Ingress(instance) => disturbances
            .kills
            .get(&instance)
            .is_some_and(|at| call.sent <= *at + KILL_TOLERANCE && *at <= call.ended() + KILL_TOLERANCE),
        Via::Wire => false,
    };
    match &call.end {
        // An answer, and set aside as well: the dead letter is not the request's one end.
        End::Ok if case.letters.contains(&call.number) => Some("answered, and a dead letter too".to_owned()),
        End::Silent if !killed && !destroyed => Some("no answer at all".to_owned()),
        End::Broken(how) if !killed => Some(format!("the connection broke: {how}")),
        End::Problem(status, _) => {
            let name = call.end.problem().unwrap_or_default();
            let why_not = why_not(case, call, name, &call.time())?;
            Some(format!("ended in {status} {name}, {why_not}"))
        }
        // Nothing was sent, or another rule judges it.
        End::TurnedAway | End::Left | End::Promised | End::Foreign(_) | End::Damaged(_) | End::Open => None,
        End::Ok | End::Silent | End::Broken(_) => None,
    }
}

/// Why a problem is a wrong end for a request that was under way for some time.
pub(super) fn why_not(case: &Case<'_>, call: &Call, name: &str, time: &Range<Duration>) -> Option<&'static str> {
    let disturbances = &case.record.disturbances;
    let (is_explained, why_not) = match name {
        // Refusals, judged by I3.
        "overloaded" | "broker-unavailable" | "not-ready" | "too-many-connections" => (true, ""),
        "expired" => (is_over(call, time.end), "and its time was not over"),
        "outcome-unknown" => (
            meets(&disturbances.uncertain, PUBLISH_TIMEOUT, time),
            "without a fault of the broker",
        ),
        "reply-timeout" => (
            disturbances.destroyed(time) || has_waited(call) && is_cut_off(case, time.end),
            "so its reply is lost",
        ),
        "dead-lettered" => (case.letters.contains(&call.number), "and there is no dead letter"),
        "upstream-failed" | "upstream-refused" | "upstream-timeout" | "upstream-unavailable" => (
            meets(&disturbances.upstream, UPSTREAM_PAUSE, time),
            "without a fault of the upstream",
        ),
        "cancelled" => (was_cancelled(case, call), "and nobody cancelled it"),
        _ => (false, "which nothing explains"),
    };
    (!is_explained).then_some(why_not)
}

/// Whether a request's time was over at a moment.
pub(super) fn is_over(call: &Call, at: Duration) -> bool {
    at + EARLY >= call.sent + call.budget
}

/// Whether a call ended with its caller's wait.
fn has_waited(call: &Call) -> bool {
    call.took + EARLY >= call.wait
}

/// Whether the broker was out of reach at a moment, or just before: no worker could say that the time is over, and
/// nothing could be promised.
fn is_cut_off(case: &Case<'_>, at: Duration) -> bool {
    meets(
        &case.record.disturbances.uncertain,
        Duration::ZERO,
        &(at.saturating_sub(EARLY)..at),
    )
}

/// Whether one of these times, and what follows on it, has a moment in common with another time.
fn meets(times: &[Range<Duration>], after: Duration, time: &Range<Duration>) -> bool {
    let mut times = times.iter();
    times.any(|one| meet(&(one.start..one.end.saturating_add(after)), time))
}

fn was_cancelled(case: &Case<'_>, call: &Call) -> bool {
    let promise = case.promises.get(&call.number);
    promise.is_some_and(|promise| matches!(promise.wish, Wish::Cancelled | Wish::Either))
}
