//! Who is let in, and what it is worth: demanded where the theme is about nothing else.

use std::time::Duration;

use super::Case;
use super::answers::left;
use crate::caller::{Answer, End};
use crate::log::Told;
use crate::plan::{FICKLE, Theme, Wait, secs};
use crate::upstream::Deed;
use crate::world::Call;

const RULE: &str = "A  who can be served is let in, and who is let in is served";

pub(super) fn judge(case: &mut Case<'_>) {
    full_house(case);
    match case.seen.plan.theme {
        Theme::Calm => calm(case),
        Theme::Overload => overload(case),
        Theme::Jobs => jobs(case),
        _ => {}
    }
}

fn answers<'a>(case: &'a Case<'_>) -> impl Iterator<Item = (&'a Call, Duration, &'a Answer)> {
    case.seen.calls.iter().filter_map(|call| match &call.end {
        Some((at, End::Answer(answer))) => Some((call, *at, answer)),
        _ => None,
    })
}

/// Nobody is refused for the number in flight while fewer are there.
fn full_house(case: &mut Case<'_>) {
    let most = case.seen.plan.settings.max_in_flight as usize;
    let refused = answers(case).filter(|(call, _, answer)| {
        let is_full = answer.detail.starts_with("as many requests as this instance takes");
        is_full && others(case, call) < most
    });
    let refused: Vec<_> = refused.map(|(call, ..)| (call.ask.work, others(case, call))).collect();
    for (work, others) in refused {
        case.breaks(
            RULE,
            Some(work),
            format!("refused for {most} in flight, with {others} requests at this door"),
        );
    }
}

/// The requests that were at its door when a call ended, those that share a key counted once.
fn others(case: &Case<'_>, call: &Call) -> usize {
    let Some((at, _)) = &call.end else { return usize::MAX };
    let inside = case.seen.calls.iter().filter(|other| {
        // Also what ended at that moment, or began.
        let until = other
            .end
            .as_ref()
            .map_or(Duration::MAX, |(end, _)| *end + Duration::from_millis(20));
        other.via == call.via && other.sent <= *at && *at <= until
    });
    let (mut keys, mut others) = (std::collections::HashSet::new(), 0);
    for other in inside {
        match other.ask.key {
            // Each has a place while it finds out that it is not the first.
            Some(key) if *at > other.sent + Duration::from_millis(100) => others += usize::from(keys.insert(key)),
            _ => others += 1,
        }
    }
    others
}

/// With nothing broken, and more terminals than work, everybody is served.
fn calm(case: &mut Case<'_>) {
    let refused = answers(case).filter(|(call, _, answer)| {
        let is_short = call.ask.timeout.is_some_and(|seconds| seconds < 3);
        matches!(answer.status, 503 | 504) && !left(call) && !is_short
    });
    let refused: Vec<_> = refused
        .map(|(call, _, answer)| (call.ask.work, answer.clone()))
        .collect();
    for (work, answer) in refused {
        let deed = &case.seen.plan.deeds[work as usize];
        if matches!(deed, Deed::Takes(_) | Deed::NotFound) {
            let what = format!("nothing was broken, and it heard {} {}", answer.status, answer.detail);
            case.breaks(RULE, Some(work), what);
        }
    }
}

/// Over capacity, as much is done as can be, and who is let in has an answer in time: also at once, when those have
/// gone who left before theirs.
fn overload(case: &mut Case<'_>) {
    let plan = &case.seen.plan;
    let Some(Deed::Takes(time)) = plan.deeds.first().cloned() else {
        return;
    };
    let capacity = plan.workers as f64 * f64::from(plan.settings.terminals) / time.as_secs_f64();
    let (from, until) = (FICKLE, plan.end);
    let done = case.works.values().flat_map(|facts| &facts.settled);
    let useful = done.filter(|one| one.told == Told::Answer && (from..until).contains(&one.at));
    let goodput = useful.count() as f64 / (until - from).as_secs_f64() / capacity;
    if goodput < LEAST_GOODPUT {
        let what = format!("{:.0} % of what can be done was done", goodput * 100.0);
        case.breaks(RULE, None, what);
    }
    for until in [from + secs(4), until] {
        let (mut let_in, mut served) = (0_u64, 0_u64);
        for (call, _, answer) in answers(case) {
            if (from..until).contains(&call.sent) && !left(call) && answer.status != 503 {
                let_in += 1;
                served += u64::from(answer.status == 200);
            }
        }
        let share = served as f64 / let_in.max(1) as f64;
        if let_in > 20 && share < LEAST_SERVED {
            let share = share * 100.0;
            let what = format!("{let_in} were let in from {from:?} to {until:?}, and {share:.0} % of them served");
            case.breaks(RULE, None, what);
        }
    }
}

/// What must be done of what can be, and how many of those who are let in must be served.
const LEAST_GOODPUT: f64 = 0.85;
const LEAST_SERVED: f64 = 0.9;

/// How many of those who wait must be served while jobs come in a flood.
const LEAST_CALLERS: f64 = 0.8;

fn jobs(case: &mut Case<'_>) {
    let callers = answers(case).filter(|(call, ..)| call.ask.wait == Wait::ForAnswer && call.sent > secs(5));
    let (all, served) = callers.fold((0_u64, 0_u64), |(all, served), (_, _, answer)| {
        (all + 1, served + u64::from(answer.status == 200))
    });
    let share = served as f64 / all.max(1) as f64;
    if all >= 5 && share < LEAST_CALLERS {
        let what = format!(
            "{:.0} % of {all} callers who wait were served beside jobs",
            share * 100.0
        );
        case.breaks(RULE, None, what);
    }
}
