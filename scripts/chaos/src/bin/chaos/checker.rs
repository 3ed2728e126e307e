//! The invariants, judged on a history and nothing else. None of them is ever weakened to make a scenario pass; what a
//! scenario itself destroys stands in its history's `allowed`.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde::Serialize;

use crate::finding::Finding;
use crate::history::{Allowed, Call, End, Growth, History, Promise, Remains, Via, What, Wish};
use crate::step::Step;

/// A kill is noted when it is done; the connection may have broken a moment before, or be seen broken after.
const KILL_TOLERANCE: Duration = Duration::from_millis(500);

/// A service may have grown by half and this much: caches of the allocator, not of requests.
const GROWTH: u64 = 8 << 20;
/// Connections to Redis that are made when first needed, and a prober's.
const DESCRIPTORS: u64 = 4;

/// What the invariants say about a history.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Judgement {
    pub(crate) messages: usize,
    pub(crate) accepted: usize,
    pub(crate) lost: usize,
    pub(crate) wrong: usize,
    pub(crate) duplicates: usize,
    pub(crate) findings: Vec<Finding>,
}

/// Judges the invariants.
pub(crate) fn judge(history: &History) -> Judgement {
    let lost = lost(history);
    let wrong: Vec<_> = history.calls.iter().filter_map(wrong).collect();
    let ran = refused_and_ran(history);
    let duplicates = duplicates(history);
    let indeterminate = |call: &&Call| matches!(call.end, End::Broken(_) | End::TurnedAway);
    let admitted = history.calls.iter().filter(|call| call.is_admitted());
    Judgement {
        messages: history.calls.len(),
        accepted: admitted.filter(|call| !indeterminate(call)).count(),
        lost: lost.len(),
        wrong: wrong.len(),
        duplicates: duplicates.len(),
        findings: vec![
            Finding::none("I1 every accepted request ends in an answer", &lost),
            Finding::none("I2 no answer is another's or damaged", &wrong),
            Finding::none("I3 what was refused never ran", &ran),
            Finding::none("I4 at most one answer for each request", &duplicates),
            Finding::none("I5 nothing leaks", &leaks(&history.remains)),
            Finding::none("every promise is kept, once", &broken_promises(history)),
            Finding::new(
                "as much was asked as planned",
                history.starved == 0,
                format!("{} requests began late", history.starved),
            ),
            Finding::none("no caller is turned away", &turned_away(history)),
            Finding::none("no process ends by itself", &deaths(history)),
        ],
    }
}

/// Requests whose callers never got the end that they were promised.
fn lost(history: &History) -> Vec<String> {
    let kills = kills(history);
    let destructions = destructions(history);
    let letters: HashSet<u64> = history.dead_letters.iter().copied().flatten().collect();
    let Allowed {
        outcome_unknown,
        destroyed,
        ..
    } = history.allowed;
    let reason = |call: &Call| {
        let in_destruction = destroyed && destructions.iter().any(|at| call.was_in_flight(*at));
        let killed = match call.via {
            Via::Ingress(instance) => kills
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
            End::Problem(..) if call.is_problem("outcome-unknown") && !outcome_unknown => {
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
    let calls = history.calls.iter();
    calls
        .filter_map(|call| reason(call).map(|reason| named(call, &reason)))
        .collect()
}

/// Results that were promised and not there, or another's, or for work that ran too often, or after its end.
fn broken_promises(history: &History) -> Vec<String> {
    let reason = |promise: &Promise| {
        let (runs, deliveries) = (
            history.runs.count(promise.number),
            history.runs.deliveries(promise.number),
        );
        let is_cancelled = matches!(promise.end, End::Problem(409, "/problems/cancelled"));
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
    };
    let broken = history.promises.iter();
    broken
        .filter_map(|promise| reason(promise).map(|reason| format!("request {}: {reason}", promise.number)))
        .collect()
}

fn wrong(call: &Call) -> Option<String> {
    match &call.end {
        End::Foreign(other) => Some(named(call, &format!("got the answer of {other}"))),
        End::Damaged(how) => Some(named(call, how)),
        _ => None,
    }
}

fn refused_and_ran(history: &History) -> Vec<String> {
    let ran = history
        .calls
        .iter()
        .filter(|call| call.is_refused() && history.runs.count(call.number) > 0);
    ran.map(|call| named(call, &format!("ended in {:?} and ran", call.end)))
        .collect()
}

fn duplicates(history: &History) -> Vec<String> {
    let twice = history.calls.iter().filter(|call| call.answers > 1);
    let mut found: Vec<_> = twice
        .map(|call| named(call, &format!("{} answers", call.answers)))
        .collect();
    let mut gone: HashMap<u32, u64> = HashMap::new();
    let destructions = destructions(history);
    for call in &history.calls {
        let Via::Ingress(instance) = call.via else { continue };
        // Whoever left without the reply may have one come late; so may what was made twice by its destruction.
        let left = matches!(call.end, End::Silent | End::Broken(_))
            || call.is_problem("reply-timeout")
            || call.is_problem("outcome-unknown");
        let doubled = history.allowed.destroyed && destructions.iter().any(|at| call.was_in_flight(*at));
        if left || doubled {
            *gone.entry(instance).or_default() += 1;
        }
    }
    for (instance, late) in &history.late_replies {
        let allowed = gone.get(instance).copied().unwrap_or(0);
        // One line for each, since each is a reply too many.
        let surplus = late.saturating_sub(allowed);
        let line = format!("ingress {instance}: {late} late replies, {allowed} callers had left");
        found.extend((0..surplus).map(|_| line.clone()));
    }
    found
}

fn leaks(remains: &Remains) -> Vec<String> {
    let mut found = Vec::new();
    let mut check = |leaks: bool, sentence: String| {
        if leaks {
            found.push(sentence);
        }
    };
    let Remains {
        requests,
        pending,
        consumers,
        live_workers,
        reply_streams,
        requesters,
        live_ingresses,
        ..
    } = *remains;
    check(requests > 0, format!("{requests} requests in the stream"));
    check(pending > 0, format!("{pending} requests pending"));
    check(
        consumers > live_workers || remains.stale_consumers > 0,
        format!("{consumers} consumers, {live_workers} live workers"),
    );
    check(
        reply_streams > live_ingresses,
        format!("{reply_streams} reply streams, {live_ingresses} live ingresses"),
    );
    check(
        requesters > live_ingresses,
        format!("{requesters} requesters known, {live_ingresses} live ingresses"),
    );
    for growth in remains.growth.iter().filter(|growth| !growth.is_small()) {
        check(true, growth.to_string());
    }
    if !found.is_empty() {
        found.push(format!("after {:.1} s", remains.waited.as_secs_f64()));
    }
    found
}

/// Callers for whom no ingress was there at all. Nothing of theirs is lost; somebody should have been there, though.
fn turned_away(history: &History) -> Vec<String> {
    let away = history
        .calls
        .iter()
        .filter(|call| call.end == End::TurnedAway && !history.allowed.turned_away);
    away.map(|call| named(call, "no ingress took the connection")).collect()
}

fn deaths(history: &History) -> Vec<String> {
    let restarted: Vec<_> = history
        .events
        .iter()
        .filter_map(|event| match &event.what {
            What::Restarted(sentence) => Some(sentence),
            _ => None,
        })
        .collect();
    let deaths = history.events.iter().filter_map(|event| match &event.what {
        What::Died(sentence) if !restarted.contains(&sentence) => Some(sentence.clone()),
        _ => None,
    });
    deaths.collect()
}

/// When each ingress process was killed.
fn kills(history: &History) -> HashMap<u32, Duration> {
    let killed = history.events.iter().filter_map(|event| match event.what {
        What::Step(Step::KillIngress(_), Some(instance)) => Some((instance, event.done)),
        _ => None,
    });
    killed.collect()
}

/// When what was in flight was destroyed.
fn destructions(history: &History) -> Vec<Duration> {
    let steps = history.steps();
    steps
        .filter(|(_, step)| matches!(step, Step::FlushAll | Step::DestroyGroup))
        .map(|(event, _)| event.done)
        .collect()
}

fn named(call: &Call, what: &str) -> String {
    format!("request {} at {:.2} s: {what}", call.number, call.sent.as_secs_f64())
}

impl Remains {
    /// Whether nothing is left that should not be.
    pub(crate) fn is_clean(&self) -> bool {
        leaks(self).is_empty()
    }
}

impl Growth {
    fn is_small(&self) -> bool {
        let (before, after) = (self.before, self.after);
        after.resident <= before.resident + before.resident / 2 + GROWTH
            && after.descriptors <= before.descriptors + DESCRIPTORS
    }
}

impl std::fmt::Display for Growth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        write!(
            f,
            "{} grew from {:.0} to {:.0} MiB and from {} to {} descriptors",
            self.process,
            mib(self.before.resident),
            mib(self.after.resident),
            self.before.descriptors,
            self.after.descriptors
        )
    }
}

#[cfg(test)]
mod tests;
