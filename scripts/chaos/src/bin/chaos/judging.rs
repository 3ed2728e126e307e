//! The verdict on a history: the rules of every run, which are the checker's, and what only processes can break (I5).

mod disturbances;

use std::time::Duration;

use checker::finding::Finding;
use checker::{Call, End, Record, Rule, Via};
use serde::Serialize;

use crate::foreign;
use crate::history::{Growth, History, Remains, What};

/// The longest SIMULATED_LATENCY of any scenario, and what a busy machine makes of it.
const WORK: Duration = Duration::from_secs(2);

/// A service may have grown by half and this much: caches of the allocator, not of requests.
const GROWTH: u64 = 8 << 20;
/// Connections to Redis that are made when first needed, and a prober's.
const DESCRIPTORS: u64 = 4;

/// What is always expected, judged on a history.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Judgement {
    pub(crate) messages: usize,
    pub(crate) accepted: usize,
    pub(crate) lost: usize,
    pub(crate) wrong: usize,
    pub(crate) duplicates: usize,
    pub(crate) findings: Vec<Finding>,
}

/// Judges what is always expected.
pub(crate) fn judge(history: &History) -> Judgement {
    let judged = checker::judge(&record(history));
    let mut findings = judged.findings();
    findings.extend([
        Finding::none("I5 nothing leaks", &leaks(&history.remains)),
        Finding::new(
            "as much was asked as planned",
            history.starved == 0,
            format!("{} requests began late", history.starved),
        ),
        Finding::none("no caller is turned away", &turned_away(history)),
        Finding::none("no process ends by itself", &deaths(history)),
    ]);
    Judgement {
        messages: judged.messages,
        accepted: judged.accepted,
        lost: judged.count(Rule::I1),
        wrong: judged.count(Rule::I2),
        duplicates: judged.count(Rule::I4),
        findings,
    }
}

/// As much of a history as the rules of every run read.
fn record(history: &History) -> Record {
    Record {
        calls: history.calls.clone(),
        promises: history.promises.clone(),
        runs: history.runs.clone(),
        dead_letters: history.dead_letters.clone(),
        late_replies: late_replies(history),
        issued: history.issued,
        work: WORK,
        disturbances: disturbances::of(history),
    }
}

/// Replies that nobody waited for. A worker of another make writes one also to who was promised its result at once.
fn late_replies(history: &History) -> Vec<(u32, u64)> {
    let theirs = |call: &&Call| {
        let runs = history.runs.of_request(call.number);
        call.end == End::Promised && call.wait.is_zero() && runs.iter().any(foreign::did)
    };
    let mut late = history.late_replies.clone();
    for (instance, count) in &mut late {
        let through = |call: &&Call| call.via == Via::Ingress(*instance);
        let explained = history.calls.iter().filter(theirs).filter(through).count();
        *count = count.saturating_sub(explained as u64);
    }
    late
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
    for sentence in &remains.surplus {
        check(true, sentence.clone());
    }
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
