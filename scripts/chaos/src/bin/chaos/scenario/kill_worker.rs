//! A worker dies every two seconds, and another is started. What it had in hand is taken over when its lease is over.
//! First a backlog longer than any stream is usually kept: all of it is worked off.

use fastrand::Rng;

use super::{Plan, Profile, Scenario, about, secs};
use crate::cluster::Setup;
use crate::expect;
use crate::finding::{Finding, Opinion};
use crate::history::History;
use crate::step::{Load, Step};

pub(super) const SCENARIO: Scenario = Scenario {
    id: "kill-worker",
    about: "SIGKILL one of three workers every 2 s, start another",
    alone: false,
    plan,
    judge,
};

const WORKERS: usize = 3;

/// More than the length that streams are usually trimmed to. Frozen workers have what a claim brought them.
const BACKLOG: u32 = 12_000;
const LEAST_BACKLOG: usize = 11_000;

fn plan(profile: Profile, rng: &mut Rng) -> Plan {
    let mut steps: Vec<_> = (0..WORKERS).map(Step::FreezeWorker).collect();
    steps.push(Step::Flood(BACKLOG));
    steps.extend((0..WORKERS).map(Step::ThawWorker));
    steps.extend([
        Step::AwaitFlood,
        Step::Load(Load::Open(profile.pick(1000.0, 3000.0))),
        Step::Wait(secs(1)),
    ]);
    for _ in 0..profile.pick(6, 60) {
        let victim = rng.usize(..WORKERS);
        steps.extend([Step::KillWorker(victim), Step::StartWorker(victim), about(secs(2), rng)]);
    }
    Plan {
        setup: Setup {
            ingresses: 1,
            workers: WORKERS,
            ingress: vec![("MAX_IN_FLIGHT", "4096".to_owned())],
            // Long enough that a victim always has something in hand.
            worker: vec![("SIMULATED_LATENCY", "5ms..20ms".to_owned())],
            ..Setup::default()
        },
        steps,
        wire: 20.0,
        ..Plan::default()
    }
}

fn judge(history: &History) -> Opinion {
    let hit = expect::redelivered(history);
    let flood = expect::steps(history, |step| matches!(step, Step::Flood(_))).next();
    let backlog = flood.map_or(0, |flood| {
        history
            .calls
            .iter()
            .filter(|call| call.was_in_flight(flood.done))
            .count()
    });
    Opinion {
        findings: vec![
            Finding::new(
                format!(">= {LEAST_BACKLOG} requests waited at once"),
                backlog >= LEAST_BACKLOG,
                format!("{backlog}"),
            ),
            expect::all_ok(history),
            expect::was_hit("faults hit requests in hand", hit.len()),
            Finding::within("those hit answered within 9 s", secs(9), &hit),
            expect::runs_per_request(history, 1.02),
            expect::wire_was_used(history),
        ],
        recoveries: hit,
    }
}
