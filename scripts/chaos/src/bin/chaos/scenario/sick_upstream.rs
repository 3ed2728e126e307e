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
    let mut findings: Vec<_> = sick
        .iter()
        .zip(&healed)
        .map(|(from, until)| asked(history, *from, *until))
        .collect();
    findings.push(asked(history, Duration::ZERO, Duration::MAX));
    findings.push(expect::share_ok(
        ">= 99 % ok from 10 s after healing",
        0.99,
        after.into_iter(),
    ));
    let recoveries = expect::first_success(history, healed.iter().copied());
    Opinion { findings, recoveries }
}

/// Whether the upstream was asked hardly more often than there were requests between two moments.
fn asked(history: &History, from: Duration, until: Duration) -> Finding {
    let admitted = expect::sent(history, from, until)
        .filter(|call| call.is_admitted())
        .count();
    let within = |moment: &&(Duration, u64)| (from..=until).contains(&moment.0);
    let mut samples = history.upstream.iter().filter(within);
    let ((begin, before), (end, after)) = match (samples.next(), samples.next_back()) {
        (Some(first), Some(last)) => (*first, *last),
        _ => return Finding::new("upstream calls were counted", false, "they were not"),
    };
    let time = (end - begin).as_secs_f64();
    let (calls, limit) = (after - before, 1.2 * admitted as f64 + 10.0 * time);
    let when = if from.is_zero() { "in all" } else { "while it is sick" };
    Finding::new(
        format!("upstream calls <= 1.2 x admitted + 10/s {when}"),
        calls as f64 <= limit,
        format!("{calls} for {admitted} admitted in {time:.0} s, the limit is {limit:.0}"),
    )
}
