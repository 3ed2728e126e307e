//! What ran: once, again only where the worker that ran it was interrupted, and never after its time.

use std::time::Duration;

use super::{Case, by};
use crate::judgement::{Rule, Violation};
use crate::record::{Call, meet};
use crate::runs::Run;

/// How often work is tried within a delivery while the upstream fails it.
const ATTEMPTS: usize = 3;

/// A request is published a moment after it was sent: its deadline is that much later, and never by more than an
/// ingress tries to publish.
const PUBLICATION: Duration = Duration::from_secs(2);

/// Requests that ran again although nothing had kept the run before from its end.
pub(super) fn again(case: &Case<'_>) -> Vec<Violation> {
    let calls = case.record.calls.iter();
    let violation = |call: &Call| {
        let mut runs = case.record.runs.of_request(call.number).to_vec();
        // A worker that was frozen may run late what another ran since as a later delivery.
        runs.sort_by_key(|run| (run.delivery, run.at));
        let pair = runs
            .windows(2)
            .find(|pair| !is_justified(case, call, &pair[0], &pair[1]));
        let too_often = runs.chunk_by(is_same).find(|same| same.len() > ATTEMPTS);
        let told = |one: &Run, next: &Run| {
            format!(
                "ran in delivery {} at {:.2} s (worker {}), and again in delivery {} at {:.2} s (worker {})",
                one.delivery,
                one.at.as_secs_f64(),
                one.worker,
                next.delivery,
                next.at.as_secs_f64(),
                next.worker
            )
        };
        let what = match (pair, too_often) {
            (Some(pair), _) => format!("{}, and nothing had interrupted it", told(&pair[0], &pair[1])),
            (None, Some(same)) => format!("was tried {} times in one delivery", same.len()),
            (None, None) => return None,
        };
        Some(by(Rule::Once, call, &what))
    };
    calls.filter_map(violation).collect()
}

/// Whether two runs belong to one delivery.
fn is_same(one: &Run, next: &Run) -> bool {
    (one.delivery, one.worker) == (next.delivery, next.worker)
}

/// Whether something had kept the first of two runs from its end.
fn is_justified(case: &Case<'_>, call: &Call, one: &Run, next: &Run) -> bool {
    let disturbances = &case.record.disturbances;
    let between = one.at.min(next.at)..one.at.max(next.at);
    // A group that is made anew counts deliveries from the first, and hands out what has not begun yet as well.
    let destroyed = disturbances.destroyed(&(call.sent..between.end));
    destroyed
        || match is_same(one, next) {
            true => disturbances.upstream.iter().any(|time| meet(time, &between)),
            false => disturbances.interrupted(one.worker, &between),
        }
}

/// Requests that began to run when they were worth nothing any more.
pub(super) fn too_late(case: &Case<'_>) -> Vec<Violation> {
    let disturbances = &case.record.disturbances;
    let violation = |call: &Call| {
        let runs = case.record.runs.of_request(call.number);
        let deadline = call.sent + call.budget + PUBLICATION;
        let late = runs.iter().find(|run| run.at > deadline)?;
        // What was on its way to a broker out of reach is there when that is back, and has its time from then on.
        let until = disturbances.uncertain.iter().filter(|time| meet(time, &call.time()));
        let arrived = until.map(|time| time.end).max().unwrap_or(call.sent);
        let excused = late.at <= arrived.saturating_add(call.budget + PUBLICATION);
        let after = (late.at - call.sent - call.budget).as_secs_f64();
        (!excused).then(|| by(Rule::InTime, call, &format!("began to run {after:.2} s after its time")))
    };
    case.record.calls.iter().filter_map(violation).collect()
}
