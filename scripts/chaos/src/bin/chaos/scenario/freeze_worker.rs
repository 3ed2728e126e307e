//! A worker stands still for three leases and then goes on, as after a long pause of its machine. Its work was taken
//! over long since; whatever it still says about it must not be heard.

use std::time::Duration;

use fastrand::Rng;

use super::{Plan, Profile, Scenario, secs};
use crate::cluster::Setup;
use crate::expect;
use crate::finding::{Finding, Opinion};
use crate::history::History;
use crate::step::{Load, Step};

pub(super) const SCENARIO: Scenario = Scenario {
    id: "freeze-worker",
    about: "SIGSTOP a worker for three leases, then SIGCONT",
    alone: false,
    plan,
    judge,
};

const WORKERS: usize = 3;

/// Eight seconds, and what a scan and the answer take on a busy machine.
const TAKEN_OVER: Duration = Duration::from_millis(8500);

fn plan(profile: Profile, rng: &mut Rng) -> Plan {
    let mut steps = vec![Step::Load(Load::Open(profile.pick(800.0, 1000.0))), Step::Wait(secs(1))];
    for _ in 0..profile.pick(1, 5) {
        let victim = rng.usize(..WORKERS);
        steps.extend([
            Step::FreezeWorker(victim),
            Step::Wait(secs(18)),
            Step::ThawWorker(victim),
            Step::Wait(secs(3)),
        ]);
    }
    Plan {
        setup: Setup {
            ingresses: 1,
            workers: WORKERS,
            ingress: vec![("MAX_IN_FLIGHT", "4096".to_owned())],
            worker: vec![("SIMULATED_LATENCY", "20ms..60ms".to_owned())],
            ..Setup::default()
        },
        steps,
        wire: 50.0,
        ..Plan::default()
    }
}

fn judge(history: &History) -> Opinion {
    let freezes = expect::steps(history, |step| matches!(step, Step::FreezeWorker(_)));
    let taken_over: Vec<_> = freezes
        .flat_map(|freeze| {
            let in_hand = history.calls.iter().filter(|call| call.was_in_flight(freeze.done));
            let again = in_hand.filter(|call| history.runs.deliveries(call.number) > 1);
            again
                .map(|call| call.ended().saturating_sub(freeze.at))
                .collect::<Vec<_>>()
        })
        .collect();
    Opinion {
        findings: vec![
            expect::all_ok(history),
            expect::was_hit("faults hit requests in hand", taken_over.len()),
            Finding::within("taken over within 8 s (+ 0.5 s)", TAKEN_OVER, &taken_over),
            expect::wire_was_used(history),
        ],
        recoveries: taken_over,
    }
}
