//! Redis stands still: for its clients, for itself, and with its whole process. What is sent meanwhile waits there, and
//! is done when it goes on.

use std::time::Duration;

use checker::nonce::Temper;
use fastrand::Rng;

use super::{Plan, Profile, Scenario, about, secs};
use crate::cluster::Setup;
use crate::expect;
use crate::finding::{Finding, Opinion};
use crate::history::{Call, Event, History};
use crate::redis::Special;
use crate::step::{Load, Step};

pub(super) const SCENARIO: Scenario = Scenario {
    id: "paused-redis",
    about: "CLIENT PAUSE, DEBUG SLEEP, and SIGSTOP of redis",
    alone: false,
    plan,
    judge,
};

/// How soon callers must hear of it.
const TOLD: Duration = Duration::from_secs(4);

/// Requests that are at work all the time that Redis is frozen.
const LONG_WORK: usize = 20;

fn plan(profile: Profile, rng: &mut Rng) -> Plan {
    let mut steps = vec![Step::Load(Load::Open(profile.pick(300.0, 600.0))), Step::Wait(secs(2))];
    for round in 0..profile.pick(1, 6) {
        let time = secs(2) + Duration::from_millis(rng.u64(..1000));
        steps.extend([
            Step::PauseClients(time),
            about(secs(3), rng),
            Step::DebugSleep(time),
            about(secs(3), rng),
            // Longer than a lease, in which nobody can renew what is in hand.
            Step::Ask(Temper::Slow, LONG_WORK),
            Step::AwaitRuns(Temper::Slow, (round + 1) * LONG_WORK),
            Step::FreezeRedis,
            Step::Wait(secs(7)),
            Step::ThawRedis,
            about(secs(4), rng),
        ]);
    }
    Plan {
        setup: Setup {
            ingresses: 2,
            workers: 2,
            worker: vec![
                ("SIMULATED_LATENCY", "20ms..200ms".to_owned()),
                (chaos::SLOW, "9s".to_owned()),
                ("ATTEMPT_TIMEOUT", "20s".to_owned()),
            ],
            redis: Special {
                debug: true,
                ..Special::default()
            },
            ..Setup::default()
        },
        steps,
        promised: 30.0,
        ..Plan::default()
    }
}

fn judge(history: &History) -> Opinion {
    let pauses = pauses(history);
    let during: Vec<&Call> = pauses
        .iter()
        .flat_map(|(from, until)| expect::sent(history, *from, *until))
        // Nor those who try until they have a promise.
        .filter(|call| call.temper == Temper::Good && !call.wait.is_zero())
        .collect();
    let refused = during.iter().filter(|call| !call.is_ok()).count();
    let told: Vec<_> = during.iter().map(|call| call.took).collect();
    let recoveries = expect::first_success(history, pauses.iter().map(|(_, until)| *until));
    let mut after = Vec::new();
    for (index, (_, until)) in pauses.iter().enumerate() {
        let next = pauses.get(index + 1).map_or(Duration::MAX, |next| next.0);
        after.extend(expect::sent(history, *until + secs(2), next).filter(|call| call.ended() < next));
    }
    Opinion {
        findings: vec![
            expect::was_hit("callers were told of it", refused),
            Finding::within("whoever asked meanwhile hears within 4 s", TOLD, &told),
            Finding::within("first success within 3 s", secs(3), &recoveries),
            expect::share_ok("all ok from 2 s after", 1.0, after.into_iter()),
            expect::ran_once(
                "each request ran once, in its first delivery",
                history,
                history.calls.iter(),
            ),
        ],
        recoveries,
    }
}

/// From when until when Redis stood still.
fn pauses(history: &History) -> Vec<(Duration, Duration)> {
    let frozen = expect::steps(history, |step| *step == Step::FreezeRedis).map(|event| event.done);
    let thawed = expect::steps(history, |step| *step == Step::ThawRedis).map(|event| event.at);
    let paused = expect::steps(history, |step| {
        matches!(step, Step::PauseClients(_) | Step::DebugSleep(_))
    });
    let whole = paused.map(|event: &Event| (event.at, event.done));
    let mut pauses: Vec<_> = frozen.zip(thawed).chain(whole).collect();
    pauses.sort_unstable();
    pauses
}
