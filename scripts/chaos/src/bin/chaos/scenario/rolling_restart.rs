//! Every process is asked to leave in turn, and another takes its place, as a deployment does it. Nobody notices.

use std::time::Duration;

use fastrand::Rng;

use super::{Plan, Profile, Scenario, secs};
use crate::cluster::Setup;
use crate::expect;
use crate::finding::{Finding, Opinion};
use crate::history::History;
use crate::step::{Load, Step};

pub(super) const SCENARIO: Scenario = Scenario {
    id: "rolling-restart",
    about: "SIGTERM each process in turn under load",
    alone: false,
    plan,
    judge,
};

/// How long it may take to replace a process: an ingress goes on accepting for a second, and what is in hand takes
/// milliseconds.
const REPLACED: Duration = Duration::from_secs(3);

fn plan(profile: Profile, rng: &mut Rng) -> Plan {
    let mut steps = vec![Step::Load(Load::Open(profile.pick(800.0, 1000.0))), Step::Wait(secs(1))];
    for _ in 0..profile.pick(2, 20) {
        let mut all = [
            Step::RollIngress(0),
            Step::RollIngress(1),
            Step::RollWorker(0),
            Step::RollWorker(1),
        ];
        rng.shuffle(&mut all);
        for step in all {
            // An orchestrator goes on when the last one is known to be ready.
            steps.extend([step, Step::Wait(Duration::from_millis(500))]);
        }
    }
    Plan {
        setup: Setup {
            ingresses: 2,
            workers: 2,
            worker: vec![("SIMULATED_LATENCY", "5ms..20ms".to_owned())],
            ..Setup::default()
        },
        steps,
        promised: 60.0,
        some_wait: true,
        ..Plan::default()
    }
}

fn judge(history: &History) -> Opinion {
    let rolled = expect::steps(history, Step::is_fault);
    let took: Vec<_> = rolled.map(|event| event.done - event.at).collect();
    Opinion {
        findings: vec![
            expect::all_ok(history),
            expect::ran_once("none of them is delivered again", history, history.calls.iter()),
            Finding::within("each process is replaced within 3 s", REPLACED, &took),
        ],
        recoveries: took,
    }
}
