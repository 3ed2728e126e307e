//! Promises: each is kept, and the work behind it is done once for each delivery.

use crate::judgement::{Rule, Violation};
use crate::record::{End, Promise, Record, Wish};
use crate::runs::Runs;

/// Results that were promised and not there, or another's, or for work that ran too often, or after its end.
pub(super) fn broken(record: &Record) -> Vec<Violation> {
    let violation = |promise: &Promise| {
        Some(Violation {
            rule: Rule::Promises,
            number: Some(promise.number),
            sentence: format!("request {}: {}", promise.number, reason(promise, &record.runs)?),
        })
    };
    record.promises.iter().filter_map(violation).collect()
}

fn reason(promise: &Promise, all: &Runs) -> Option<String> {
    let (runs, deliveries) = (all.count(promise.number), all.deliveries(promise.number));
    let is_cancelled = promise.end == End::Problem(409, "/problems/cancelled");
    let kept = match promise.wish {
        Wish::Kept => promise.end == End::Ok,
        Wish::Either => promise.end == End::Ok || is_cancelled,
        Wish::Cancelled => is_cancelled,
    };
    if !kept {
        return Some(format!("promised, and then {:?}", promise.end));
    }
    if promise.wish == Wish::Cancelled && runs > 0 {
        return Some("cancelled before it began, and ran".to_owned());
    }
    (runs > deliveries as usize).then(|| format!("ran {runs} times in {deliveries} deliveries"))
}
