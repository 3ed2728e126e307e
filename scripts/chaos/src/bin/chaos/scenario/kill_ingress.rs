//! An ingress dies every five seconds with everybody who is connected to it, and is started again as another one. The
//! replies to the dead one must reach nobody, and must not stay; those it had promised become results. For some time
//! before every other death no ingress hears of its replies, so that callers are promised what is done already. First
//! the workers stand still for a moment: what is cancelled then has not begun, and never does.

use std::time::Duration;

use checker::nonce::Temper;
use fastrand::Rng;

use super::{Plan, Profile, Scenario, about, secs};
use crate::cluster::Setup;
use crate::expect;
use crate::fault_proxy::Question;
use crate::finding::{Finding, Opinion};
use crate::history::{End, History, Wish};
use crate::step::{Load, Step};
use crate::traffic::Poison;

pub(super) const SCENARIO: Scenario = Scenario {
    id: "kill-ingress",
    about: "SIGKILL one of two ingresses every 5 s, start it again",
    alone: false,
    plan,
    judge,
};

const INGRESSES: usize = 2;
const WORKERS: usize = 2;

/// Less than half of what slow work takes, and several times as long as the workers stand still.
const LEASE: &str = "4s";

/// How many take so long; few enough for most terminals to be free.
const SLOW: usize = 12;

/// Long enough that some are promised what they wait for, and too short for an ingress to read its replies again.
const DEAF: Duration = Duration::from_millis(1700);

fn plan(profile: Profile, rng: &mut Rng) -> Plan {
    let rate = profile.pick(800, 1000);
    let mut steps = vec![Step::Load(Load::Open(rate as f64)), Step::Wait(secs(1))];
    steps.extend((0..WORKERS).map(Step::FreezeWorker));
    steps.push(Step::Wait(Duration::from_millis(800)));
    steps.extend((0..WORKERS).map(Step::ThawWorker));
    steps.push(Step::Wait(secs(1)));
    for turn in 0..profile.pick(3, 18) {
        if turn % 2 == 0 {
            steps.extend([Step::LoseAnswers(Question::Replies, INGRESSES as u32), Step::Wait(DEAF)]);
        }
        let victim = rng.usize(..INGRESSES);
        steps.extend([
            Step::KillIngress(victim),
            about(secs(1), rng),
            Step::StartIngress(victim),
            about(secs(4), rng),
        ]);
    }
    // Done before the load is over.
    let slow = (0..SLOW).map(|_| rng.u64(rate..rate * 6)).collect();
    Plan {
        setup: Setup {
            ingresses: INGRESSES,
            workers: WORKERS,
            ingress: vec![
                ("MAX_IN_FLIGHT", "4096".to_owned()),
                ("MAX_QUEUED_JOBS", "4096".to_owned()),
            ],
            worker: vec![
                ("SIMULATED_LATENCY", "20ms..60ms".to_owned()),
                ("LEASE", LEASE.to_owned()),
            ],
            fault_proxy: true,
            ..Setup::default()
        },
        steps,
        poison: Poison {
            slow,
            ..Poison::default()
        },
        promised: 60.0,
        some_wait: true,
        settling: secs(120),
        ..Plan::default()
    }
}

fn judge(history: &History) -> Opinion {
    let broken = history
        .calls
        .iter()
        .filter(|call| matches!(call.end, End::Broken(_)))
        .count();
    let started = expect::steps(history, |step| matches!(step, Step::StartIngress(_)));
    let waited = history.calls.iter().filter(|call| call.end == End::Promised);
    let waited = waited.filter(|call| !call.wait.is_zero()).count();
    let cancelled = history
        .promises
        .iter()
        .filter(|promise| promise.wish == Wish::Cancelled);
    let cancelled = cancelled.count();
    let slow = history.calls.iter().filter(|call| call.temper == Temper::Slow);
    let slow = slow.filter(|call| history.runs.count(call.number) > 0).count();
    let orphans = history.remains.settled;
    let others = history.calls.iter().filter(|call| !matches!(call.end, End::Broken(_)));
    Opinion {
        findings: vec![
            expect::was_hit("faults hit callers who waited", broken),
            expect::share_ok("everybody else answered 200", 1.0, others),
            expect::was_hit("results promised to callers who did not wait", history.promises.len()),
            expect::was_hit("results promised at the end of a wait", waited),
            expect::was_hit("requests were cancelled before they began", cancelled),
            expect::was_hit("work took longer than two leases", slow),
            expect::ran_once("all work runs once", history, history.calls.iter()),
            Finding::new(
                "orphan reply streams gone within 120 s",
                history.remains.reply_streams <= history.remains.live_ingresses,
                orphans.map_or_else(
                    || format!("{} streams left", history.remains.reply_streams),
                    |time| format!("{:.1} s after the load", time.as_secs_f64()),
                ),
            ),
        ],
        recoveries: expect::first_success(history, started.map(|event| event.done)),
    }
}
