//! The network swallows everything between the services and Redis. Nobody is told: a connection stays open, and nothing
//! comes. First it loses the answers to some questions alone: what was asked is done, and who asked does not know.

use std::time::Duration;

use fastrand::Rng;

use super::{Plan, Profile, Scenario, about, secs};
use crate::cluster::Setup;
use crate::expect;
use crate::fault_proxy::{NetworkFault, Question};
use crate::finding::{Finding, Opinion};
use crate::history::{End, Event, History, Via};
use crate::step::{Load, Step};

pub(super) const SCENARIO: Scenario = Scenario {
    id: "black-hole",
    about: "answers of redis get lost, then everything to and from it; at last the network delays, cuts and resets",
    alone: false,
    plan,
    judge,
};

/// How soon callers must hear of it.
const NOTICED: Duration = Duration::from_secs(4);

/// Answers to settlements that get lost: more than there are workers, so that some are lost again.
const LOST_SETTLEMENTS: u32 = 4;

fn plan(profile: Profile, rng: &mut Rng) -> Plan {
    let mut steps = vec![
        Step::Load(Load::Open(profile.pick(500.0, 800.0))),
        Step::Wait(secs(1)),
        Step::LoseAnswers(Question::Settlement, LOST_SETTLEMENTS),
        Step::LoseAnswers(Question::Replies, 1),
        // A read that hangs is given up after three seconds.
        Step::Wait(secs(4)),
    ];
    for _ in 0..profile.pick(2, 10) {
        steps.extend([
            Step::Network(NetworkFault::BlackHole),
            about(profile.pick(secs(6), secs(10)), rng),
            Step::Network(NetworkFault::Pass),
            Step::Wait(secs(4)),
        ]);
    }
    // What breaks loudly is easier, and may leave half a transaction behind.
    for (weather, time) in [
        (NetworkFault::Delay(Duration::from_millis(3)), 1000),
        (NetworkFault::CutAfter(rng.u64(200..20_000)), 500),
        (NetworkFault::Reset, 200),
        (NetworkFault::Pass, 3000),
    ] {
        steps.extend([Step::Network(weather), Step::Wait(Duration::from_millis(time))]);
    }
    Plan {
        setup: Setup {
            ingresses: 1,
            workers: 2,
            ingress: vec![("MAX_IN_FLIGHT", "4096".to_owned())],
            worker: vec![("SIMULATED_LATENCY", "5ms..20ms".to_owned())],
            fault_proxy: true,
            ..Setup::default()
        },
        steps,
        wire: 50.0,
        ..Plan::default()
    }
}

fn judge(history: &History) -> Opinion {
    let is = |wanted: NetworkFault| move |step: &Step| *step == Step::Network(wanted);
    let holes: Vec<_> = expect::steps(history, is(NetworkFault::BlackHole)).collect();
    let healed: Vec<_> = expect::steps(history, is(NetworkFault::Pass))
        .map(|event| event.done)
        .collect();
    let recoveries = expect::first_success(history, healed.iter().copied());
    let noticed: Vec<_> = holes
        .iter()
        .zip(&healed)
        .map(|(hole, healed)| noticed(history, hole, *healed))
        .collect();
    let mut ok_after = Vec::new();
    for healed in &healed {
        let next = expect::steps(history, Step::is_fault).find(|event| event.at > *healed);
        let until = next.map_or(Duration::MAX, |event| event.at);
        ok_after.extend(expect::sent(history, *healed + secs(3), until).filter(|call| call.ended() < until));
    }
    let first_hole = holes.first().map_or(Duration::ZERO, |hole| hole.at);
    let before = || expect::sent(history, Duration::ZERO, first_hole).filter(|call| call.ended() < first_hole);
    Opinion {
        findings: vec![
            expect::share_ok("all ok while only answers are lost", 1.0, before()),
            expect::ran_once("and none of them ran twice", history, before()),
            expect::wire_was_used(history),
            Finding::within("callers hear 503 or 504 within 4 s", NOTICED, &noticed),
            Finding::within("first success within 3 s of healing", secs(3), &recoveries),
            expect::share_ok("all ok from 3 s after healing", 1.0, ok_after.into_iter()),
        ],
        recoveries,
    }
}

/// The longest that anybody who asked during the hole waited to hear of it.
fn noticed(history: &History, hole: &Event, healed: Duration) -> Duration {
    let within = expect::sent(history, hole.done, healed.saturating_sub(NOTICED));
    // What goes past the ingresses goes past the hole.
    let through = within.filter(|call| call.via != Via::Wire);
    let longest = through.map(|call| match call.end {
        End::Problem(503 | 504, _) => call.took,
        // Whoever was told something else has not heard.
        _ => Duration::MAX,
    });
    longest.max().unwrap_or(Duration::MAX)
}
