//! The network swallows everything between the services and Redis. Nobody is told: a connection stays open, and
//! nothing comes.

use std::time::Duration;

use fastrand::Rng;

use super::{Plan, Profile, Scenario, about, secs};
use crate::cluster::Setup;
use crate::cutter::Weather;
use crate::expect;
use crate::finding::{Finding, Opinion};
use crate::history::{End, Event, History};
use crate::step::{Load, Step};

pub(super) const SCENARIO: Scenario = Scenario {
    id: "black-hole",
    about: "the network swallows everything to and from redis; at last it delays, cuts and resets",
    alone: false,
    plan,
    judge,
};

/// How soon callers must hear of it.
const NOTICED: Duration = Duration::from_secs(4);

fn plan(profile: Profile, rng: &mut Rng) -> Plan {
    let mut steps = vec![Step::Load(Load::Open(profile.pick(500.0, 800.0))), Step::Wait(secs(2))];
    for _ in 0..profile.pick(2, 10) {
        steps.extend([
            Step::Network(Weather::BlackHole),
            about(profile.pick(secs(6), secs(10)), rng),
            Step::Network(Weather::Pass),
            Step::Wait(secs(4)),
        ]);
    }
    // What breaks loudly is easier, and may leave half a transaction behind.
    for (weather, time) in [
        (Weather::Delay(Duration::from_millis(3)), 1000),
        (Weather::CutAfter(rng.u64(200..20_000)), 500),
        (Weather::Reset, 200),
        (Weather::Pass, 3000),
    ] {
        steps.extend([Step::Network(weather), Step::Wait(Duration::from_millis(time))]);
    }
    Plan {
        setup: Setup {
            ingresses: 1,
            workers: 2,
            ingress: vec![("MAX_IN_FLIGHT", "4096".to_owned())],
            worker: vec![("SIMULATED_LATENCY", "5ms..20ms".to_owned())],
            cutter: true,
            ..Setup::default()
        },
        steps,
        ..Plan::default()
    }
}

fn judge(history: &History) -> Opinion {
    let is = |wanted: Weather| move |step: &Step| *step == Step::Network(wanted);
    let holes: Vec<_> = expect::steps(history, is(Weather::BlackHole)).collect();
    let healed: Vec<_> = expect::steps(history, is(Weather::Pass))
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
    Opinion {
        findings: vec![
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
    let longest = within.map(|call| match call.end {
        End::Problem(503 | 504, _) => call.took,
        // Whoever was told something else has not heard.
        _ => Duration::MAX,
    });
    longest.max().unwrap_or(Duration::MAX)
}
