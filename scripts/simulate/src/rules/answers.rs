//! What callers were told, against what happened.

use std::time::Duration;

use roundtrip::FaultCode;

use super::Case;
use crate::caller::{Answer, End};
use crate::log::Told;
use crate::plan::{Then, Wait, millis, secs};
use crate::world::{Call, shown};

const ENDS: &str = "I1 every call is answered in its time";
const OWN: &str = "I2 nobody gets another's answer";
const REFUSED: &str = "I3 what was refused never ran";
const ONCE: &str = "I4 a request ends once";
const DEADLINE: &str = "D  nothing begins after its deadline, or too short before it";

/// What a caller may wait beyond its time: until its request is published, and the broker was asked what became of it.
const GRACE: Duration = secs(5);

/// A wait that ends by so much too early is too short.
const MOMENT: Duration = millis(20);
const EARLY: Duration = millis(300);

pub(super) fn judge(case: &mut Case<'_>) {
    let calls = case.seen.calls.clone();
    for (number, call) in calls.iter().enumerate() {
        let broken = ends(case, call)
            .map(|what| (ENDS, what))
            .or_else(|| own(call).map(|what| (OWN, what)));
        if let Some((rule, what)) = broken {
            case.breaks(rule, Some(call.ask.work), format!("call {number}: {what}"));
        }
    }
    refused(case, &calls);
    for (work, facts) in case.works.clone() {
        for published in &facts.published {
            let ends: Vec<_> = facts.settled.iter().filter(|one| one.id == published.id).collect();
            if ends.len() > 1 {
                case.breaks(ONCE, Some(work), format!("settled {} times", ends.len()));
            }
        }
        for run in &facts.runs {
            let Some((at, budget)) = case.published(run.id) else {
                case.breaks(REFUSED, Some(work), "it ran, and was never published".to_owned());
                continue;
            };
            let left = (at + budget).checked_sub(run.began);
            if left.is_none_or(|left| left.is_zero()) {
                let late = run.began.saturating_sub(at + budget);
                // The clock of a worker that stood still between its look and its work is late by that.
                if !case.was_troubled(&run.instance, at, run.began) {
                    case.breaks(
                        DEADLINE,
                        Some(work),
                        format!("an attempt began {late:?} after its deadline"),
                    );
                }
            }
        }
    }
}

fn answer(call: &Call) -> Option<(Duration, &Answer)> {
    match &call.end {
        Some((at, End::Answer(answer))) => Some((*at, answer)),
        _ => None,
    }
}

/// How long its caller waits at most.
fn patience(case: &Case<'_>, call: &Call) -> Duration {
    let settings = &case.seen.plan.settings;
    match call.ask.wait {
        Wait::ForAnswer => {
            let limit = call.ask.timeout.map_or(settings.request_timeout, secs);
            limit.min(settings.request_timeout)
        }
        Wait::UpTo(seconds) => secs(seconds),
        Wait::Not => Duration::ZERO,
    }
}

fn ends(case: &Case<'_>, call: &Call) -> Option<String> {
    let patience = patience(case, call) + call.ask.slow_body;
    let Some((at, end)) = &call.end else {
        return Some("it was never answered".to_owned());
    };
    let took = *at - call.sent;
    let troubled = case.was_troubled(&call.via, call.sent, *at);
    let is_leaving = case
        .seen
        .leaving
        .iter()
        .any(|(name, when)| *name == call.via && *when <= *at);
    if *end == End::Broken && !troubled && !is_leaving {
        return Some("its connection broke".to_owned());
    }
    let End::Answer(answer) = end else { return None };
    if took > patience + GRACE && !troubled {
        return Some(format!(
            "it took {took:?}, and its caller waited for {patience:?}: {}",
            shown(end)
        ));
    }
    match answer.problem.as_deref() {
        Some("internal-error" | "internal") => Some(format!("an internal error: {}", answer.detail)),
        Some("outcome-unknown") if !troubled && !is_leaving => {
            Some("its outcome is unknown, and nothing was broken".to_owned())
        }
        // Those who wait for the answer wait for it, unless connections are about to be cut; a broker that is away for
        // a while is no reason, unless nobody knows of the request but its caller.
        Some("reply-timeout")
            if took + EARLY < patience
                && !last_call(case, call, *at)
                && (!troubled || (call.ask.wait == Wait::ForAnswer && answer.location.is_some())) =>
        {
            Some(format!(
                "it was sent away after {took:?}, and had {patience:?}: {}",
                shown(end)
            ))
        }
        // Whoever has it answers before its caller's time is over.
        Some("reply-timeout") if !troubled && !is_leaving && was_in_hand(case, call) => {
            Some("a worker had it, and its caller heard nothing in time".to_owned())
        }
        Some("reply-timeout") if answer.location.is_none() && !troubled => {
            Some("its wait ended, and it was not told where to ask".to_owned())
        }
        Some("dead-lettered") => {
            let facts = case.facts(call.ask.work);
            let is_set_aside = facts.settled.iter().any(|one| one.told == Told::Letter);
            (!is_set_aside).then(|| "it heard of a dead letter that there is not".to_owned())
        }
        _ => None,
    }
}

/// Whether the request of a caller who waits was at work when its time was over, on a worker with which nothing was
/// wrong.
fn was_in_hand(case: &Case<'_>, call: &Call) -> bool {
    let facts = case.facts(call.ask.work);
    let asked = facts.published.iter().find(|one| one.at >= call.sent);
    let Some(published) = asked.filter(|one| call.ask.wait == Wait::ForAnswer && one.budget <= patience(case, call))
    else {
        return false;
    };
    let deadline = published.at + published.budget;
    facts.runs.iter().any(|run| {
        let is_at_work = run.began + secs(1) < deadline && run.ended.is_none_or(|ended| ended + MOMENT >= deadline);
        run.id == published.id && is_at_work && !case.was_troubled(&run.instance, published.at, deadline + secs(1))
    })
}

/// Whether its ingress was about to cut connections off.
fn last_call(case: &Case<'_>, call: &Call, at: Duration) -> bool {
    let settings = &case.seen.plan.settings;
    let grace = settings.drain_timeout - secs(4).min(settings.drain_timeout / 4);
    let begins = settings.shutdown_delay + grace;
    case.seen
        .leaving
        .iter()
        .any(|(name, when)| *name == call.via && at + EARLY >= *when + begins)
}

fn own(call: &Call) -> Option<String> {
    let (_, answer) = answer(call)?;
    match (answer.status, answer.work) {
        (200, Some(work)) if work != call.ask.work => Some(format!("it got the answer of {work}")),
        (200, None) => Some("its answer is damaged".to_owned()),
        _ => None,
    }
}

/// Whether it says that nothing was done and nothing will be.
fn is_refusal(call: &Call) -> bool {
    match &call.end {
        Some((_, End::TurnedAway)) => true,
        Some((_, End::Answer(answer))) => match answer.problem.as_deref() {
            // Work that was done, or given up, on its way or before.
            Some("not-found" | "cancelled" | "upstream-unavailable" | "city-not-found") => false,
            // The key's request goes on.
            Some("overloaded") if answer.location.is_some() => false,
            _ => matches!(answer.status, 400..=499 | 503),
        },
        _ => false,
    }
}

fn refused(case: &mut Case<'_>, calls: &[Call]) {
    let mut by_work: std::collections::BTreeMap<u64, Vec<&Call>> = std::collections::BTreeMap::new();
    for call in calls {
        by_work.entry(call.ask.work).or_default().push(call);
    }
    for (work, calls) in by_work {
        let facts = case.facts(work);
        if !facts.runs.is_empty() && calls.iter().all(|call| is_refusal(call)) {
            let told: Vec<_> = calls
                .iter()
                .filter_map(|call| call.end.as_ref().map(|(_, end)| shown(end)))
                .collect();
            case.breaks(
                REFUSED,
                Some(work),
                format!("it ran, and all its callers heard {}", told.join("; ")),
            );
        }
        twice(case, work, &calls);
        attempts(case, work);
    }
}

/// A key's work is done by one request, and who shares it hears of that one.
fn twice(case: &mut Case<'_>, work: u64, calls: &[&Call]) {
    const RULE: &str = "K  one key, one piece of work";
    if calls.iter().any(|call| call.ask.key.is_none()) {
        return;
    }
    let facts = case.facts(work);
    let mut began: Vec<_> = facts.runs.iter().map(|run| run.id).collect();
    began.sort_unstable();
    began.dedup();
    // One that never reached the upstream leaves its key to the next.
    began.retain(|id| {
        let told = facts.settled.iter().find(|one| one.id == *id).map(|one| one.told);
        told != Some(Told::Fault(FaultCode::UpstreamUnavailable))
    });
    if began.len() > 1 {
        case.breaks(RULE, Some(work), format!("{} requests with one key ran", began.len()));
    }
    for call in calls {
        let Some((_, answer)) = answer(call).filter(|(_, answer)| answer.replayed && answer.status >= 400) else {
            continue;
        };
        let is_over = |id| facts.settled.iter().any(|one| one.id == id && one.at < call.sent);
        let all_over = facts.published.iter().all(|one| is_over(one.id));
        // What never began is no end that a key stands for: who comes later has it done.
        let may_have_begun = facts.delivered.iter().any(|(id, at)| {
            let deadline = case.published(*id).map(|(at, budget)| at + budget);
            deadline.is_none_or(|deadline| *at < deadline)
        });
        if all_over && !may_have_begun && is_end_of_work(answer) {
            case.breaks(
                RULE,
                Some(work),
                format!("what never began was replayed: {}", answer.detail),
            );
        }
        // What was done will be the same again.
        if answer.retryable == Some(true) && all_over && !facts.runs.is_empty() && is_end_of_work(answer) {
            case.breaks(
                RULE,
                Some(work),
                format!("it was replayed as retryable: {}", answer.detail),
            );
        }
    }
}

fn is_end_of_work(answer: &Answer) -> bool {
    !matches!(
        answer.problem.as_deref(),
        Some("reply-timeout" | "outcome-unknown" | "overloaded" | "broker-unavailable")
    )
}

/// A request is attempted as often as its deliveries allow: three times in the first, once in each other.
fn attempts(case: &mut Case<'_>, work: u64) {
    const RULE: &str = "R  retries do not multiply";
    let facts = case.facts(work);
    for published in &facts.published {
        let of = |delivery| {
            let runs = facts.runs.iter();
            runs.filter(|run| run.id == published.id && run.delivery == delivery)
                .count()
        };
        let most = case.seen.plan.settings.max_deliveries;
        let (first, again) = (of(1), (2..=most).map(of).max().unwrap_or(0));
        let beyond = facts
            .runs
            .iter()
            .filter(|run| run.id == published.id && run.delivery > most)
            .count();
        if first > 3 && !case.is_troubled() || again > 1 && !case.is_troubled() || beyond > 0 {
            let what = format!("{first} attempts in its first delivery, {again} in another, {beyond} after the last");
            case.breaks(RULE, Some(work), what);
        }
    }
}

/// Whether a caller left before its answer.
pub(super) fn left(call: &Call) -> bool {
    matches!(call.ask.then, Then::HangsUp(_)) || !matches!(call.end, Some((_, End::Answer(_))))
}
