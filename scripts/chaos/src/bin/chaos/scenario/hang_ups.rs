//! Callers ask for long work and hang up, some at once and some while it is done. With ON_DISCONNECT=cancel it ends
//! with them: otherwise there would soon be no terminal left for anybody else.

use std::time::Duration;

use checker::nonce::Temper;
use fastrand::Rng;

use super::{Plan, Profile, Scenario, secs};
use crate::cluster::Setup;
use crate::expect;
use crate::finding::{Finding, Opinion};
use crate::history::{Call, End, History};
use crate::step::{Load, Step};
use crate::wishes::Wishes;

pub(super) const SCENARIO: Scenario = Scenario {
    id: "hang-ups",
    about: "callers hang up on long work, with ON_DISCONNECT=cancel",
    alone: false,
    plan,
    judge,
};

const ASKED: &str = "roundtrip_ingress_cancellations_total{outcome=\"asked\"}";
const NEVER_STARTED: &str = "roundtrip_ingress_cancellations_total{outcome=\"never_started\"}";

/// Long enough that all terminals would be taken within three seconds.
const LONG: &str = "25s";

/// What cancelling takes: a wish, the grace, a settlement.
const ENDED_WITHIN: Duration = Duration::from_secs(5);

/// A request of somebody else waits for nobody.
const OTHERS_WITHIN: Duration = Duration::from_secs(2);

fn plan(profile: Profile, _: &mut Rng) -> Plan {
    let leaving = |after: u64, rate: f64| Wishes {
        temper: Some(Temper::Slow),
        leave: Some(Duration::from_millis(after)),
        rate,
        ..Wishes::default()
    };
    Plan {
        setup: Setup {
            ingresses: 2,
            workers: 2,
            ingress: vec![("ON_DISCONNECT", "cancel".to_owned())],
            worker: vec![
                ("SIMULATED_LATENCY", "20ms..60ms".to_owned()),
                (chaos::SLOW, LONG.to_owned()),
                ("ATTEMPT_TIMEOUT", "60s".to_owned()),
                ("CANCEL_GRACE", "200ms".to_owned()),
            ],
            ..Setup::default()
        },
        steps: vec![
            Step::Load(Load::Open(profile.pick(150.0, 400.0))),
            Step::Wait(profile.pick(secs(12), secs(90))),
        ],
        // Before it is in the stream, on its way into a terminal, and in the midst of it.
        wishes: vec![leaving(1, 15.0), leaving(20, 15.0), leaving(700, 30.0)],
        counters: &[ASKED, NEVER_STARTED],
        ..Plan::default()
    }
}

fn judge(history: &History) -> Opinion {
    let left = history.calls.iter().filter(|call| call.end == End::Left).count();
    let others = || history.calls.iter().filter(|call| call.temper == Temper::Good);
    let took: Vec<_> = others().map(|call| call.took).collect();
    let began = |call: &&Call| call.end == End::Left && history.runs.count(call.number) > 0;
    let began = history.calls.iter().filter(began).count() as u64;
    let (asked, never) = (history.counter(ASKED), history.counter(NEVER_STARTED));
    let settled = history.remains.settled;
    let wishes = history
        .remains
        .surplus
        .iter()
        .filter(|what| what.ends_with("still to be cancelled"));
    let wishes: Vec<_> = wishes.cloned().collect();
    Opinion {
        findings: vec![
            expect::was_hit("callers hung up", left),
            expect::was_hit("on work that had begun", began as usize),
            Finding::new(
                "what had begun was asked to end",
                asked >= began,
                format!("{asked} of {began}; {never} more never started"),
            ),
            expect::share_ok("all others answered 200", 1.0, others()),
            Finding::within("and within 2 s", OTHERS_WITHIN, &took),
            expect::ran_once(
                "each request ran once, in its first delivery",
                history,
                history.calls.iter(),
            ),
            Finding::new(
                "all of it over within 5 s of the load",
                settled.is_some_and(|time| time <= ENDED_WITHIN),
                settled.map_or("never".to_owned(), |time| format!("{:.1} s", time.as_secs_f64())),
            ),
            Finding::none("no wish to cancel is left", &wishes),
        ],
        recoveries: settled.into_iter().collect(),
    }
}
