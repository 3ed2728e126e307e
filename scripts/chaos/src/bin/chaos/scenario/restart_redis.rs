//! Redis dies, and comes back on its data. Every write is in its file before it is answered, so whatever was accepted
//! is there again.

use fastrand::Rng;

use super::{Plan, Profile, Scenario, about, secs};
use crate::cluster::Setup;
use crate::expect;
use crate::finding::{Finding, Opinion};
use crate::history::History;
use crate::step::{Load, Step};

pub(super) const SCENARIO: Scenario = Scenario {
    id: "restart-redis",
    about: "SIGKILL redis, whose every write is on disk, and start it again",
    alone: false,
    plan,
    judge,
};

fn plan(profile: Profile, rng: &mut Rng) -> Plan {
    let mut steps = vec![Step::Load(Load::Open(profile.pick(600.0, 1000.0))), Step::Wait(secs(2))];
    for _ in 0..profile.pick(3, 10) {
        steps.extend([
            Step::KillRedis,
            about(secs(1), rng),
            Step::StartRedis,
            about(profile.pick(secs(4), secs(9)), rng),
        ]);
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
        ..Plan::default()
    }
}

fn judge(history: &History) -> Opinion {
    let loaded = expect::steps(history, |step| *step == Step::StartRedis);
    let kills: Vec<_> = expect::steps(history, |step| *step == Step::KillRedis).collect();
    let hit = history
        .calls
        .iter()
        .filter(|call| kills.iter().any(|kill| call.was_in_flight(kill.at)))
        .count();
    let recoveries = expect::first_success(history, loaded.map(|event| event.done));
    Opinion {
        findings: vec![
            expect::was_hit("faults hit requests in flight", hit),
            expect::was_hit("results promised to callers who did not wait", history.promises.len()),
            Finding::within("first success within 2 s of its loading", secs(2), &recoveries),
        ],
        recoveries,
    }
}
