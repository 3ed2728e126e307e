//! Publishing is slow, and the ingresses are asked to leave while callers wait for a while, or not at all. What is
//! promised is in the stream, or gets there; what did not get there was promised to nobody.

use std::time::Duration;

use fastrand::Rng;

use super::{Plan, Profile, Scenario, about, secs};
use crate::cluster::Setup;
use crate::expect;
use crate::fault_proxy::NetworkFault;
use crate::finding::{Finding, Opinion};
use crate::history::History;
use crate::step::{Load, Step};
use crate::wishes::{Prefer, Wishes};

pub(super) const SCENARIO: Scenario = Scenario {
    id: "slow-publish",
    about: "publishing takes 300 ms, and SIGTERM each ingress in turn",
    alone: false,
    plan,
    judge,
};

/// What comes meanwhile is published with the next batch, so up to twice as long after it came.
const PUBLISHING: Duration = Duration::from_millis(300);

/// A second in which connections move, what is at work, and a few ways to Redis.
const LEFT_WITHIN: Duration = Duration::from_secs(6);

fn plan(profile: Profile, rng: &mut Rng) -> Plan {
    let mut steps = vec![
        Step::Network(NetworkFault::DelayPublishing(PUBLISHING)),
        Step::Load(Load::Open(profile.pick(60.0, 150.0))),
        about(secs(2), rng),
    ];
    for _ in 0..profile.pick(1, 10) {
        let first = rng.usize(..2);
        for ingress in [first, 1 - first] {
            steps.extend([Step::RollIngress(ingress), about(secs(2), rng)]);
        }
    }
    // Cleaning up is judged by what it takes, not by the way.
    steps.extend([
        Step::Load(Load::Idle),
        Step::Wait(secs(1)),
        Step::Network(NetworkFault::Pass),
    ]);
    let wishes = |prefer| Wishes {
        prefer,
        rate: profile.pick(60.0, 150.0),
        is_stubborn: true,
        ..Wishes::default()
    };
    Plan {
        setup: Setup {
            ingresses: 2,
            workers: 2,
            worker: vec![
                ("SIMULATED_LATENCY", "100ms..1500ms".to_owned()),
                ("TERMINALS", "512".to_owned()),
            ],
            fault_proxy: true,
            workers_past_cutter: true,
            ..Setup::default()
        },
        steps,
        wishes: vec![
            // Who waits a little hears at once when its ingress leaves, whatever has not been published then.
            wishes(Prefer::Wait(1)),
            wishes(Prefer::Wait(3)),
            wishes(Prefer::Async),
        ],
        ..Plan::default()
    }
}

fn judge(history: &History) -> Opinion {
    let rolled = expect::steps(history, |step| matches!(step, Step::RollIngress(_)));
    let took: Vec<_> = rolled.map(|event| event.done - event.at).collect();
    Opinion {
        findings: vec![
            expect::was_hit("results were promised", history.promises.len()),
            expect::all_ok(history),
            expect::ran_once(
                "each request ran once, in its first delivery",
                history,
                history.calls.iter(),
            ),
            Finding::within("left, and was replaced, within 6 s", LEFT_WITHIN, &took),
        ],
        recoveries: took,
    }
}
