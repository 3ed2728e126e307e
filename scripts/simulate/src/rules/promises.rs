//! What was promised, against what became of it.

use roundtrip::{CorrelationId, FaultCode};

use super::Case;
use crate::log::Told;
use crate::plan::secs;
use crate::world::Fate;

const KEPT: &str = "P  every promise is kept";
const CANCELLED: &str = "C  what was cancelled before it began never runs";

pub(super) fn judge(case: &mut Case<'_>) {
    for (id, fate) in case.seen.fates.clone() {
        if let Some(what) = broken(case, id, &fate) {
            let work = case.seen.log.work_of(id);
            case.breaks(KEPT, work.or_else(|| asked(case, id)), what);
        }
    }
    for id in case.seen.cancelled.clone() {
        let Some(work) = case.seen.log.work_of(id) else {
            continue;
        };
        let ran = case.facts(work).runs.iter().filter(|run| run.id == id).count();
        if ran > 0 && !is_late(case, id) {
            case.breaks(CANCELLED, Some(work), format!("it ran {ran} times"));
        }
    }
}

/// A cancellation may be confirmed for what ended by an earlier one.
fn is_late(case: &Case<'_>, id: CorrelationId) -> bool {
    let Some(work) = case.seen.log.work_of(id) else {
        return true;
    };
    let facts = case.facts(work);
    let settled = facts.settled.iter().find(|one| one.id == id);
    settled.is_some_and(|one| one.told == Told::Fault(FaultCode::Cancelled))
}

/// Whose promise it was, where it was never published.
fn asked(case: &Case<'_>, id: CorrelationId) -> Option<u64> {
    let calls = case.seen.calls.iter();
    let mut theirs = calls.filter(|call| match &call.end {
        Some((_, crate::caller::End::Answer(answer))) => answer.location == Some(id),
        _ => false,
    });
    theirs.next().map(|call| call.ask.work)
}

fn broken(case: &Case<'_>, id: CorrelationId, fate: &Fate) -> Option<String> {
    let Some((_, budget)) = case.published(id) else {
        return Some(format!("it was promised, and never published; now it is {fate:?}"));
    };
    let work = case.seen.log.work_of(id)?;
    let facts = case.facts(work);
    let settled = facts.settled.iter().find(|one| one.id == id);
    let state = match fate {
        Fate::Unknown => return Some("it was promised, and nobody knows it".to_owned()),
        // Jobs may have more time than a history.
        Fate::Open(_) if settled.is_none() && budget > secs(3600) && facts.runs.is_empty() => return None,
        Fate::Open(state) => return Some(format!("it was promised, and stays {state:?}; settled as {settled:?}")),
        Fate::Ended(state) => state.as_str(),
    };
    let told = settled.map(|one| one.told);
    let expected = match told {
        Some(Told::Answer) => "succeeded",
        Some(Told::Fault(FaultCode::Expired)) => "expired",
        Some(Told::Fault(FaultCode::Cancelled)) => "cancelled",
        Some(Told::Fault(_) | Told::Letter) => "failed",
        None if state == "cancelled" => return None,
        None => return Some(format!("it is {state}, and was never settled")),
    };
    // Whoever cancels what waits, and is heard, ends it there; a settlement of the same moment is not heard any more.
    (state != expected).then(|| format!("it is {state}, and was settled as {told:?}"))
}
