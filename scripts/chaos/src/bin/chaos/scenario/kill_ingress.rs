//! An ingress dies every five seconds with everybody who is connected to it, and is started again as another one. The
//! replies to the dead one must reach nobody, and must not stay.

use fastrand::Rng;

use super::{Plan, Profile, Scenario, about, secs};
use crate::cluster::Setup;
use crate::expect;
use crate::finding::{Finding, Opinion};
use crate::history::{End, History};
use crate::step::{Load, Step};

pub(super) const SCENARIO: Scenario = Scenario {
    id: "kill-ingress",
    about: "SIGKILL one of two ingresses every 5 s, start it again",
    alone: false,
    plan,
    judge,
};

fn plan(profile: Profile, rng: &mut Rng) -> Plan {
    let mut steps = vec![Step::Load(Load::Open(profile.pick(800.0, 1000.0))), Step::Wait(secs(2))];
    for _ in 0..profile.pick(3, 18) {
        let victim = rng.usize(..2);
        steps.extend([
            Step::KillIngress(victim),
            about(secs(1), rng),
            Step::StartIngress(victim),
            about(secs(4), rng),
        ]);
    }
    Plan {
        setup: Setup {
            ingresses: 2,
            workers: 2,
            worker: vec![("SIMULATED_LATENCY", "20ms..60ms".to_owned())],
            ..Setup::default()
        },
        steps,
        promised: 60.0,
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
    let orphans = history.remains.settled;
    let others = history.calls.iter().filter(|call| !matches!(call.end, End::Broken(_)));
    Opinion {
        findings: vec![
            expect::was_hit("faults hit callers who waited", broken),
            expect::share_ok("everybody else answered 200", 1.0, others),
            expect::was_hit("results promised to callers who did not wait", history.promises.len()),
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
