//! A worker dies every two seconds, and another is started. What it had in hand is taken over when its lease is over.
//! One of them is in Python: what either make drops, the other takes over, and all are judged by the same rules.
//! First a backlog longer than any stream is usually kept: all of it is worked off.

use fastrand::Rng;

use super::{Plan, Profile, Scenario, about, secs};
use crate::cluster::Setup;
use crate::expect;
use crate::finding::{Finding, Opinion};
use crate::history::{Call, History, Pythons};
use crate::step::{Load, Step};

pub(super) const SCENARIO: Scenario = Scenario {
    id: "kill-worker",
    about: "SIGKILL one of four workers, of which one is in Python, every 2 s, start another",
    alone: false,
    plan,
    judge,
};

const WORKERS: usize = 4;

/// The place of the one in Python.
const PYTHON: usize = WORKERS - 1;

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
    for kill in 0..profile.pick(6, 60) {
        // Each make dies at least once.
        let victim = match kill {
            0 => PYTHON,
            1 => rng.usize(..PYTHON),
            _ => rng.usize(..WORKERS),
        };
        steps.extend([Step::KillWorker(victim), Step::StartWorker(victim), about(secs(2), rng)]);
    }
    Plan {
        setup: Setup {
            ingresses: 1,
            workers: WORKERS,
            python: 1,
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
            python_worked(history),
        ],
        recoveries: hit,
    }
}

/// That the worker in Python did some of the work, unless it could not be had.
fn python_worked(history: &History) -> Finding {
    let Pythons { pids, missing } = &history.pythons;
    let did = |call: &&Call| {
        let runs = history.runs.of_request(call.number);
        runs.iter().any(|run| pids.contains(&run.worker))
    };
    let count = history.calls.iter().filter(did).count();
    let measured = match missing {
        Some(why) => format!("skipped: {why}"),
        None => format!("{count} of {}, by {} processes", history.calls.len(), pids.len()),
    };
    Finding::new(
        "examples/worker.py did some of it",
        count > 0 || missing.is_some(),
        measured,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_in_python_that_did_nothing_is_found_and_one_that_cannot_be_had_is_told() {
        let mut history = History::default();
        assert!(!python_worked(&history).passed);
        history.pythons.missing = Some("there is no pip".to_owned());
        let finding = python_worked(&history);
        assert!(finding.passed && finding.measured == "skipped: there is no pip");
    }

    #[test]
    fn each_make_is_killed() {
        for seed in 0..100 {
            let steps = plan(Profile::Ci, &mut Rng::with_seed(seed)).steps;
            let killed = |who: fn(usize) -> bool| {
                steps
                    .iter()
                    .any(|step| matches!(step, Step::KillWorker(place) if who(*place)))
            };
            assert!(killed(|place| place == PYTHON) && killed(|place| place < PYTHON));
        }
    }
}
