//! Somebody removes the consumer group, or everything. What was in flight may be gone with it; the services make anew
//! what they need, and nobody who waits is left without an answer.

use std::time::Duration;

use fastrand::Rng;

use super::{Plan, Profile, Scenario, about, secs};
use crate::cluster::Setup;
use crate::expect;
use crate::finding::{Finding, Opinion};
use crate::history::{End, History};
use crate::step::{Load, Step};

pub(super) const SCENARIO: Scenario = Scenario {
    id: "lose-group",
    about: "XGROUP DESTROY, then FLUSHALL",
    alone: false,
    plan,
    judge,
};

/// REQUEST_TIMEOUT, and what a timer takes on a busy machine.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(8);
const DEADLINE: Duration = Duration::from_millis(8500);

fn plan(profile: Profile, rng: &mut Rng) -> Plan {
    let mut steps = vec![Step::Load(Load::Open(profile.pick(600.0, 1000.0))), Step::Wait(secs(2))];
    for _ in 0..profile.pick(1, 10) {
        steps.extend([
            Step::DestroyGroup,
            about(secs(5), rng),
            Step::FlushAll,
            about(secs(5), rng),
        ]);
    }
    Plan {
        setup: Setup {
            ingresses: 1,
            workers: 2,
            worker: vec![("SIMULATED_LATENCY", "10ms..40ms".to_owned())],
            ..Setup::default()
        },
        steps,
        request_timeout: REQUEST_TIMEOUT,
        promised: 60.0,
        // Begins early: who heard reply-timeout learns two minutes later that its request is gone.
        settling: secs(150),
        ..Plan::default()
    }
}

fn judge(history: &History) -> Opinion {
    let losses: Vec<_> = expect::steps(history, |step| matches!(step, Step::DestroyGroup | Step::FlushAll)).collect();
    let recoveries = expect::first_success(history, losses.iter().map(|event| event.done));
    let mut served = Vec::new();
    for (index, loss) in losses.iter().enumerate() {
        let until = losses.get(index + 1).map_or(Duration::MAX, |next| next.at);
        served.extend(expect::sent(history, loss.done + secs(3), until).filter(|call| call.ended() < until));
    }
    let told = |end: &End| matches!(end, End::Ok | End::Promised | End::Problem(..));
    let waiting = || {
        history
            .calls
            .iter()
            .filter(|call| losses.iter().any(|loss| call.was_in_flight(loss.done)))
    };
    let untold: Vec<_> = waiting()
        .filter(|call| !told(&call.end))
        .map(|call| format!("{call:?}"))
        .collect();
    let took: Vec<_> = waiting().map(|call| call.took).collect();
    Opinion {
        findings: vec![
            expect::was_hit("faults hit requests in flight", took.len()),
            Finding::within("new requests served within 3 s", secs(3), &recoveries),
            expect::share_ok("all ok from 3 s after", 1.0, served.into_iter()),
            Finding::none("everybody waiting is told something", &untold),
            Finding::within("by their deadline of 8 s (+ 0.5 s)", DEADLINE, &took),
        ],
        recoveries,
    }
}
