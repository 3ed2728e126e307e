//! Every worker has long work in hand, and a request that kills workers waits for one that is empty, as it has to run
//! alone. Nobody else waits for either, and the long work is not disturbed.

use std::time::Duration;

use checker::nonce::Temper;
use fastrand::Rng;

use super::{Plan, Profile, Scenario, about, secs};
use crate::cluster::Setup;
use crate::expect;
use crate::finding::{Finding, Opinion};
use crate::history::{Call, History};
use crate::step::{Load, Step};

pub(super) const SCENARIO: Scenario = Scenario {
    id: "long-beside-poison",
    about: "long work in hand of every worker, and a request that kills workers",
    alone: false,
    plan,
    judge,
};

const WORKERS: usize = 2;

/// Three leases and a half.
const LONG: &str = "7s";

/// A suspect looks for room for a lease, and then as long for nothing: that long others may wait, and a scan more.
const WITHOUT_ANSWERS: Duration = Duration::from_millis(3500);

/// Where all workers look for room at the same time, what waits meanwhile may keep the door shut for a moment.
const ANSWERED: f64 = 0.97;

fn plan(profile: Profile, rng: &mut Rng) -> Plan {
    let mut steps = vec![Step::Load(Load::Open(profile.pick(200.0, 400.0))), Step::Wait(secs(1))];
    for round in 0..profile.pick(1, 6) {
        // Two of its deliveries beside others, and from then on it has to wait.
        steps.extend([
            Step::Ask(Temper::Aborts, 1),
            Step::AwaitRuns(Temper::Aborts, 3 * round + 2),
            Step::Wait(Duration::from_millis(500)),
        ]);
        for _ in 0..5 * WORKERS {
            steps.extend([Step::Ask(Temper::Slow, 1), about(Duration::from_millis(50), rng)]);
        }
        steps.extend([Step::AwaitRuns(Temper::Aborts, 3 * round + 3), about(secs(4), rng)]);
    }
    Plan {
        setup: Setup {
            ingresses: 1,
            workers: WORKERS,
            ingress: vec![("MAX_IN_FLIGHT", "8192".to_owned())],
            worker: vec![
                ("SIMULATED_LATENCY", "2ms..10ms".to_owned()),
                (chaos::SLOW, LONG.to_owned()),
                ("ATTEMPT_TIMEOUT", "20s".to_owned()),
                ("LEASE", "2s".to_owned()),
                ("MAX_DELIVERIES", "3".to_owned()),
            ],
            supervised: true,
            ..Setup::default()
        },
        steps,
        ..Plan::default()
    }
}

fn judge(history: &History) -> Opinion {
    let of = |temper: Temper| history.calls.iter().filter(move |call| call.temper == temper);
    let poisons: Vec<_> = of(Temper::Aborts).map(|call| Some(call.number)).collect();
    let untold: Vec<_> = of(Temper::Aborts)
        .filter(|call| !call.is_problem("dead-lettered"))
        .map(|call| format!("request {}: {:?}", call.number, call.end))
        .collect();
    let again: Vec<_> = of(Temper::Slow)
        .filter(|call| history.runs.count(call.number) != 1 || history.runs.deliveries(call.number) != 1)
        .map(|call| format!("request {} ran {} times", call.number, history.runs.count(call.number)))
        .collect();
    let waited = of(Temper::Aborts).filter(|poison| waited(history, poison)).count();
    let others = |call: &&Call| !call.temper.is_poison();
    Opinion {
        findings: vec![
            Finding::new(
                "the poison waited until long work was done",
                waited > 0 && waited == poisons.len(),
                format!("{waited} of {}", poisons.len()),
            ),
            Finding::new(
                "dead letters are exactly the poisons",
                history.dead_letters == poisons,
                format!("{:?}, poisons are {poisons:?}", history.dead_letters),
            ),
            Finding::none("its caller gets 500 dead-lettered", &untold),
            expect::share_ok(
                ">= 97 % of the others got 200",
                ANSWERED,
                history.calls.iter().filter(others),
            ),
            Finding::none("long work ran once, in its first delivery", &again),
            Finding::within(
                "never longer than 3.5 s without answers",
                WITHOUT_ANSWERS,
                &gaps(history),
            ),
        ],
        recoveries: history
            .calls
            .iter()
            .filter(others)
            .filter(|call| history.runs.deliveries(call.number) > 1)
            .map(|call| call.took)
            .collect(),
    }
}

/// Whether a poison's last run came when long work that began before it was done, on every worker.
fn waited(history: &History, poison: &Call) -> bool {
    let Some(last) = history.runs.of_request(poison.number).last() else {
        return false;
    };
    let long = history.calls.iter().filter(|call| call.temper == Temper::Slow);
    let before: Vec<_> = long
        .filter(|call| (poison.sent..last.at).contains(&call.sent))
        .collect();
    let runs = before.iter().flat_map(|call| history.runs.of_request(call.number));
    let workers: std::collections::HashSet<_> = runs.map(|run| run.worker).collect();
    let done = before.iter().filter(|call| call.ended() <= last.at).count();
    workers.len() == WORKERS && done > 0
}

/// The times between one answer and the next.
fn gaps(history: &History) -> Vec<Duration> {
    let good = history
        .calls
        .iter()
        .filter(|call| call.is_ok() && call.temper == Temper::Good);
    let mut ends: Vec<_> = good.map(Call::ended).collect();
    ends.sort_unstable();
    ends.windows(2).map(|two| two[1] - two[0]).collect()
}
