//! Some requests make every handler panic, and some end the worker's whole process. They are set aside, each of them
//! and nothing else.

use std::collections::BTreeSet;

use fastrand::Rng;

use super::{Plan, Profile, Scenario, secs};
use crate::cluster::Setup;
use crate::expect;
use crate::finding::{Finding, Opinion};
use crate::history::History;
use crate::step::{Load, Step};
use crate::traffic::Poison;

pub(super) const SCENARIO: Scenario = Scenario {
    id: "poison",
    about: "one request in 1000 panics its handler, some abort the worker; workers are started again",
    alone: false,
    plan,
    judge,
};

fn plan(profile: Profile, rng: &mut Rng) -> Plan {
    let (rate, time) = (profile.pick(500, 800), profile.pick(16, 120));
    // Each ends a worker several times, and the last must be over before the load is.
    let aborts = (0..profile.pick(3, 20))
        .map(|_| rng.u64(rate..rate * time * 3 / 4))
        .collect();
    Plan {
        setup: Setup {
            ingresses: 1,
            workers: 3,
            ingress: vec![("MAX_IN_FLIGHT", "8192".to_owned())],
            worker: vec![
                ("SIMULATED_LATENCY", "2ms..10ms".to_owned()),
                // Every delivery of a request that kills costs a lease: all of them fit into a caller's patience.
                ("LEASE", "2s".to_owned()),
                ("MAX_DELIVERIES", "3".to_owned()),
            ],
            supervised: true,
            ..Setup::default()
        },
        steps: vec![Step::Load(Load::Open(rate as f64)), Step::Wait(secs(time))],
        poison: Poison {
            panics: 0.001,
            aborts,
            ..Poison::default()
        },
        ..Plan::default()
    }
}

fn judge(history: &History) -> Opinion {
    let calls = || history.calls.iter();
    let poisons: BTreeSet<_> = calls()
        .filter(|call| call.temper.is_poison())
        .map(|call| Some(call.number))
        .collect();
    let letters: BTreeSet<_> = history.dead_letters.iter().copied().collect();
    let told = |wanted: bool| {
        calls().filter(move |call| call.temper.is_poison() && call.is_problem("dead-lettered") == wanted)
    };
    let untold: Vec<_> = told(false)
        .map(|call| format!("request {}: {:?}", call.number, call.end))
        .collect();
    let exact = poisons == letters && letters.len() == history.dead_letters.len();
    Opinion {
        findings: vec![
            expect::was_hit("poisons were sent", poisons.len()),
            Finding::new(
                "dead letters are exactly the poisons",
                exact,
                format!(
                    "{} dead letters, {} poisons; {} missing, {} innocent",
                    history.dead_letters.len(),
                    poisons.len(),
                    poisons.difference(&letters).count(),
                    letters.difference(&poisons).count(),
                ),
            ),
            Finding::none("their callers get 500 dead-lettered", &untold),
            expect::share_ok(
                ">= 99.9 % of the others ok",
                0.999,
                calls().filter(|call| !call.temper.is_poison()),
            ),
        ],
        recoveries: told(true).map(|call| call.took).collect(),
    }
}
