//! What scenarios expect, in words they share. Each takes a history and gives a finding, or the times a finding is
//! about.

use std::time::Duration;

use crate::finding::{Finding, seconds};
use crate::history::{Call, Event, History, Via};
use crate::step::Step;

/// Its time begins when it is in the stream, which takes half a second at most; and a worker may take a moment from its
/// look at the clock to the ledger.
const LATENESS: Duration = Duration::from_millis(750);

/// How a call is named where it is an example.
fn named(call: &Call) -> String {
    format!(
        "request {} at {:.2} s: {:?}",
        call.number,
        call.sent.as_secs_f64(),
        call.end
    )
}

/// Every call is answered well.
pub(crate) fn all_ok(history: &History) -> Finding {
    let failed: Vec<_> = history.calls.iter().filter(|call| !call.is_ok()).map(named).collect();
    Finding::none("all requests answered 200", &failed)
}

/// At least this share of some calls is answered well.
pub(crate) fn share_ok<'a>(expected: impl Into<String>, share: f64, calls: impl Iterator<Item = &'a Call>) -> Finding {
    let (mut all, mut good, mut example) = (0_u64, 0_u64, None);
    for call in calls {
        all += 1;
        match call.is_ok() {
            true => good += 1,
            false => example = example.or_else(|| Some(named(call))),
        }
    }
    let measured = good as f64 / all.max(1) as f64;
    let example = example.map(|example| format!(", first: {example}")).unwrap_or_default();
    let text = format!("{:.3} % of {all}{example}", measured * 100.0);
    Finding::new(expected, all > 0 && measured >= share, text)
}

/// Steps of a kind, with when they were done.
pub(crate) fn steps<'a>(history: &'a History, is: impl Fn(&Step) -> bool + 'a) -> impl Iterator<Item = &'a Event> {
    history
        .steps()
        .filter(move |(_, step)| is(step))
        .map(|(event, _)| event)
}

/// How long after each of some moments the first request that was sent since then was answered well.
pub(crate) fn first_success(history: &History, moments: impl Iterator<Item = Duration>) -> Vec<Duration> {
    moments
        .map(|moment| {
            let since = history.calls.iter().filter(|call| call.is_ok() && call.sent >= moment);
            let first = since.map(|call| call.ended() - moment).min();
            // Never is longer than any limit.
            first.unwrap_or(Duration::MAX)
        })
        .collect()
}

/// Calls that were sent from one moment until another.
pub(crate) fn sent(history: &History, from: Duration, until: Duration) -> impl Iterator<Item = &Call> {
    history
        .calls
        .iter()
        .filter(move |call| (from..until).contains(&call.sent))
}

/// What calls took whose worker was lost: those that were delivered again.
pub(crate) fn redelivered(history: &History) -> Vec<Duration> {
    let hit = history
        .calls
        .iter()
        .filter(|call| history.runs.deliveries(call.number) > 1);
    hit.map(|call| call.took).collect()
}

/// Runs for each request, all attempts counted.
pub(crate) fn runs_per_request(history: &History, limit: f64) -> Finding {
    let (runs, requests) = (history.runs.total(), history.runs.distinct());
    let measured = runs as f64 / requests.max(1) as f64;
    Finding::new(
        format!("runs per request <= {limit}"),
        requests > 0 && measured <= limit,
        format!("{measured:.4}: {runs} runs of {requests} requests"),
    )
}

/// None of some calls ran twice, or in a later delivery than the first.
pub(crate) fn ran_once<'a>(
    expected: impl Into<String>,
    history: &History,
    calls: impl Iterator<Item = &'a Call>,
) -> Finding {
    let again = calls.filter_map(|call| {
        let (runs, delivery) = (history.runs.count(call.number), history.runs.deliveries(call.number));
        let again = runs > 1 || delivery > 1;
        again.then(|| format!("request {}: {runs} runs, the last in delivery {delivery}", call.number))
    });
    Finding::none(expected, &again.collect::<Vec<_>>())
}

/// Nothing of what went past the ingresses began when its time was over.
pub(crate) fn none_began_late(history: &History) -> Finding {
    let wire = history.calls.iter().filter(|call| call.via == Via::Wire);
    let late = wire.filter_map(|call| {
        let runs = history.runs.of_request(call.number).iter();
        let last = runs.map(|run| run.at).max()?;
        let late = last.checked_sub(call.sent + call.budget)?;
        (late > LATENESS).then(|| format!("request {} began {} after its time", call.number, seconds(late)))
    });
    Finding::none("nothing begins after its time", &late.collect::<Vec<_>>())
}

/// That requests went past the ingresses as well, where a second reply is seen.
pub(crate) fn wire_was_used(history: &History) -> Finding {
    let wire = history.calls.iter().filter(|call| call.via == Via::Wire);
    let (all, twice) = wire.fold((0, 0), |(all, twice), call| {
        (all + 1, twice + u64::from(call.answers > 1))
    });
    Finding::new(
        "no second reply on the wire",
        all > 0 && twice == 0,
        format!("{twice} of {all} requests"),
    )
}

/// That something was hit at all: a fault that hits nobody proves nothing.
pub(crate) fn was_hit(what: &str, count: usize) -> Finding {
    Finding::new(what, count > 0, format!("{count}"))
}
