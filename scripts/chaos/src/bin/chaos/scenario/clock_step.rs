//! Somebody sets the clock of Redis a minute ahead, and back again, while requests wait and are at work. By that clock
//! every lease and every deadline is over, then nothing happens for a minute; nobody notices any of it.

use fastrand::Rng;

use super::{Plan, Profile, Scenario, about, secs};
use crate::cluster::Setup;
use crate::expect;
use crate::finding::{Finding, Opinion};
use crate::history::History;
use crate::redis::Special;
use crate::step::{Load, Step};

pub(super) const SCENARIO: Scenario = Scenario {
    id: "clock-step",
    about: "redis' clock is set 60 s ahead, and 60 s back",
    alone: false,
    plan,
    judge,
};

/// More than any lease, and any caller's time.
const STEP: i64 = 60;

const WORKERS: usize = 2;
const TERMINALS: usize = 80;

/// With room for what seems to be dropped; and with requests that wait, whose time seems to be over.
const SOME: usize = WORKERS * TERMINALS / 2;
const MANY: usize = WORKERS * TERMINALS * 2;

fn plan(profile: Profile, rng: &mut Rng) -> Plan {
    let mut steps = Vec::new();
    for _ in 0..profile.pick(1, 8) {
        for in_flight in [SOME, MANY] {
            steps.extend([Step::Load(Load::Closed(in_flight)), about(secs(2), rng)]);
            for offset in [STEP, 0] {
                steps.extend([Step::SetClock(offset), about(secs(2), rng)]);
            }
        }
        // A lease, after which the clock is believed again.
        steps.push(Step::Wait(secs(7)));
    }
    Plan {
        setup: Setup {
            ingresses: 2,
            workers: WORKERS,
            ingress: vec![("MAX_IN_FLIGHT", "4096".to_owned())],
            worker: vec![
                ("TERMINALS", TERMINALS.to_string()),
                ("SIMULATED_LATENCY", "500ms..1500ms".to_owned()),
            ],
            redis: Special {
                clock: true,
                ..Special::default()
            },
            ..Setup::default()
        },
        steps,
        wire: 10.0,
        ..Plan::default()
    }
}

fn judge(history: &History) -> Opinion {
    let steps: Vec<_> = expect::steps(history, Step::is_fault).map(|event| event.done).collect();
    let hit = history
        .calls
        .iter()
        .filter(|call| steps.iter().any(|at| call.was_in_flight(*at)));
    let recoveries = expect::first_success(history, steps.iter().copied());
    Opinion {
        findings: vec![
            expect::was_hit("requests waited or were at work at a step", hit.count()),
            expect::all_ok(history),
            expect::ran_once(
                "each request ran once, in its first delivery",
                history,
                history.calls.iter(),
            ),
            expect::wire_was_used(history),
            Finding::within("new requests served within 5 s", secs(5), &recoveries),
        ],
        recoveries,
    }
}
