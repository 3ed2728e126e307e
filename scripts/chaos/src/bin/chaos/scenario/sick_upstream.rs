//! The weather service fails every call, then answers too late, then is well again. It is asked hardly more often than
//! there are requests meanwhile, and soon after its recovery nobody notices anything any more.

use std::time::Duration;

use fastrand::Rng;

use super::{Plan, Profile, Scenario, secs};
use crate::cluster::Setup;
use crate::expect;
use crate::finding::{Finding, Opinion};
use crate::history::History;
use crate::step::{Load, Step};
use crate::upstream::Mood;

pub(super) const SCENARIO: Scenario = Scenario {
    id: "sick-upstream",
    about: "the upstream fails every call, then is too slow, then heals",
    alone: false,
    plan,
    judge,
};

const ATTEMPT_TIMEOUT: &str = "500ms";
const TOO_SLOW: Duration = Duration::from_secs(2);

fn plan(profile: Profile, _: &mut Rng) -> Plan {
    let mut steps = vec![Step::Load(Load::Open(profile.pick(150.0, 200.0))), Step::Wait(secs(2))];
    for _ in 0..profile.pick(1, 3) {
        steps.extend([
            Step::Upstream(Mood::Failing),
            Step::Wait(profile.pick(secs(5), secs(15))),
            Step::Upstream(Mood::Slow(TOO_SLOW)),
            Step::Wait(profile.pick(secs(5), secs(15))),
            Step::Upstream(Mood::Healthy),
            Step::Wait(secs(14)),
        ]);
    }
    Plan {
        setup: Setup {
            ingresses: 1,
            workers: 2,
            ingress: vec![("MAX_IN_FLIGHT", "16384".to_owned())],
            worker: vec![("ATTEMPT_TIMEOUT", ATTEMPT_TIMEOUT.to_owned())],
            upstream: true,
            ..Setup::default()
        },
        steps,
        ..Plan::default()
    }
}

fn judge(history: &History) -> Opinion {
    let admitted = history.calls.iter().filter(|call| call.is_admitted()).count();
    let (time, attempts) = history.upstream.last().copied().unwrap_or_default();
    let limit = 1.2 * admitted as f64 + 10.0 * time.as_secs_f64();
    let is = |wanted: fn(&Mood) -> bool| move |step: &Step| matches!(step, Step::Upstream(mood) if wanted(mood));
    let healed: Vec<_> = expect::steps(history, is(|mood| *mood == Mood::Healthy))
        .map(|event| event.done)
        .collect();
    let sick: Vec<_> = expect::steps(history, is(|mood| *mood == Mood::Failing))
        .map(|event| event.at)
        .collect();
    let mut after = Vec::new();
    for (index, healed) in healed.iter().enumerate() {
        let until = sick.get(index + 1).copied().unwrap_or(Duration::MAX);
        after.extend(expect::sent(history, *healed + secs(10), until));
    }
    let recoveries = expect::first_success(history, healed.iter().copied());
    Opinion {
        findings: vec![
            Finding::new(
                "upstream calls <= 1.2 x admitted + 10/s",
                attempts as f64 <= limit,
                format!("{attempts} for {admitted} admitted, the limit is {limit:.0}"),
            ),
            expect::share_ok(">= 99 % ok from 10 s after healing", 0.99, after.into_iter()),
        ],
        recoveries,
    }
}
