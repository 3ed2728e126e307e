//! An ingress stands still for so long that it is taken for dead, and its replies are adopted. Then it goes on, with
//! all its callers: each of them gets the result, or is told where it is.

use std::time::Duration;

use fastrand::Rng;

use super::{Plan, Profile, Scenario, secs};
use crate::cluster::Setup;
use crate::expect;
use crate::finding::{Finding, Opinion};
use crate::history::{Call, Event, History, Via, What};
use crate::step::{Load, Step};
use crate::wishes::{Prefer, Wishes};

pub(super) const SCENARIO: Scenario = Scenario {
    id: "freeze-ingress",
    about: "SIGSTOP one of two ingresses until it is taken for dead, then SIGCONT",
    alone: false,
    plan,
    judge,
};

/// It is silent for 45 s, and found so ten times, a second apart.
const FROZEN: u64 = 58;

/// How long publishing may take.
const PUBLISHED_WITHIN: Duration = Duration::from_millis(200);

const ADOPTED: &str = "roundtrip_ingress_adopted_replies_total";

fn plan(profile: Profile, rng: &mut Rng) -> Plan {
    let mut steps = vec![Step::Load(Load::Open(20.0)), Step::Wait(secs(3))];
    for _ in 0..profile.pick(1, 3) {
        let victim = rng.usize(..2);
        steps.extend([
            Step::FreezeIngress(victim),
            Step::Wait(secs(FROZEN)),
            Step::ThawIngress(victim),
            Step::Wait(secs(4)),
        ]);
    }
    let wishes = |prefer| Wishes {
        prefer,
        rate: 15.0,
        ..Wishes::default()
    };
    Plan {
        setup: Setup {
            ingresses: 2,
            workers: 2,
            // Long enough that many are at work when it stops.
            worker: vec![("SIMULATED_LATENCY", "500ms..2s".to_owned())],
            ..Setup::default()
        },
        steps,
        wishes: vec![
            wishes(Prefer::Answer),
            wishes(Prefer::Wait(1)),
            wishes(Prefer::Wait(60)),
            wishes(Prefer::Async),
        ],
        grace: secs(FROZEN + 10),
        light: true,
        counters: &[ADOPTED],
        settling: secs(120),
        ..Plan::default()
    }
}

fn judge(history: &History) -> Opinion {
    let thawed: Vec<_> = expect::steps(history, |step| matches!(step, Step::ThawIngress(_))).collect();
    let frozen: Vec<_> = expect::steps(history, |step| matches!(step, Step::FreezeIngress(_))).collect();
    let hit = |call: &&Call| {
        let stood = |frozen: &Event, thawed: &Event| through(frozen, call) && call.was_in_flight(thawed.at);
        frozen
            .iter()
            .zip(&thawed)
            .any(|(frozen, thawed)| stood(frozen, thawed) && call.sent < thawed.at)
    };
    let hit: Vec<_> = history.calls.iter().filter(hit).collect();
    let begun = |call: &&&Call| frozen.iter().any(|frozen| call.was_in_flight(frozen.at));
    // Whether what was just being published got there, it cannot know.
    let is_known = |call: &&Call| {
        let published = |frozen: &&Event| call.was_in_flight(frozen.done) && call.sent + PUBLISHED_WITHIN > frozen.at;
        let is_unknown = call.is_problem("outcome-unknown") || call.is_problem("reply-timeout");
        !(is_unknown && frozen.iter().any(published))
    };
    let after: Vec<_> = thawed
        .iter()
        .map(|event| {
            let good = history
                .calls
                .iter()
                .filter(|call| call.is_ok() && call.sent >= event.done);
            let first = good
                .filter(|call| through(event, call))
                .map(|call| call.ended() - event.done);
            first.min().unwrap_or(Duration::MAX)
        })
        .collect();
    Opinion {
        findings: vec![
            expect::was_hit("callers waited at work all the time", hit.iter().filter(begun).count()),
            expect::share_ok(
                "these, and who came meanwhile, got 200 or 202",
                1.0,
                hit.into_iter().filter(is_known),
            ),
            expect::share_ok("so did all others", 1.0, history.calls.iter().filter(is_known)),
            expect::ran_once(
                "each request ran once, in its first delivery",
                history,
                history.calls.iter(),
            ),
            Finding::new(
                "its reply stream was adopted",
                history.counter(ADOPTED) > 0,
                format!("{} replies became results", history.counter(ADOPTED)),
            ),
            Finding::within("it serves again within 5 s", secs(5), &after),
        ],
        recoveries: after,
    }
}

/// Whether a call went through the ingress that a step hit.
fn through(event: &Event, call: &Call) -> bool {
    let hit = match event.what {
        What::Step(_, instance) => instance,
        _ => None,
    };
    hit.is_some_and(|instance| call.via == Via::Ingress(instance))
}
