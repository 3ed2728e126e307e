//! Far more jobs come than can be done, each with a day's time, while others wait for their answers. Jobs may take
//! their share of the queue; nobody who waits is turned away for them.

use std::time::Duration;

use checker::nonce::Temper;
use fastrand::Rng;

use super::{Plan, Profile, Scenario, secs};
use crate::cluster::Setup;
use crate::expect;
use crate::finding::{Finding, Opinion, quantile, seconds};
use crate::history::{End, History};
use crate::step::{Load, Step};
use crate::wishes::{Prefer, Wishes};

pub(super) const SCENARIO: Scenario = Scenario {
    id: "jobs-beside-callers",
    about: "thousands of jobs with a day each, while others wait",
    alone: false,
    plan,
    judge,
};

/// For lack of room among those who wait.
const REFUSED: &str = "roundtrip_ingress_refused_total{reason=\"queue_share\"}";

/// Three quarters of it is what those who wait put up with, and half of that is the jobs' share.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(8);

/// How much is done a second is an estimate, and swings where quick work and long are mixed: now and then the queue
/// seems too long for everybody, for a sample or two.
const ANSWERED: f64 = 0.95;

/// What those who wait put up with is 6 s; by the same estimate, so that some wait a little longer, and none to the end
/// of their time.
const WAIT: Duration = Duration::from_secs(7);

fn plan(profile: Profile, _: &mut Rng) -> Plan {
    Plan {
        setup: Setup {
            ingresses: 2,
            workers: 2,
            // Two workers of 64 terminals: 128 jobs a second.
            worker: vec![
                ("SIMULATED_LATENCY", "20ms..60ms".to_owned()),
                (chaos::SLOW, "1s".to_owned()),
            ],
            ..Setup::default()
        },
        steps: vec![
            Step::Load(Load::Open(100.0)),
            Step::Wait(profile.pick(secs(12), secs(90))),
        ],
        wishes: vec![Wishes {
            prefer: Prefer::Async,
            timeout: Some(secs(86_400)),
            temper: Some(Temper::Slow),
            rate: 400.0,
            ..Wishes::default()
        }],
        request_timeout: REQUEST_TIMEOUT,
        counters: &[REFUSED],
        ..Plan::default()
    }
}

fn judge(history: &History) -> Opinion {
    let of = |temper: Temper| history.calls.iter().filter(move |call| call.temper == temper);
    let jobs = |end: fn(&End) -> bool| of(Temper::Slow).filter(move |call| end(&call.end)).count();
    let (promised, all) = (jobs(|end| *end == End::Promised), of(Temper::Slow).count());
    let refused = jobs(|end| end.is_problem("overloaded"));
    let took: Vec<_> = of(Temper::Good).map(|call| call.took).collect();
    let p99 = quantile(&took, 0.99);
    Opinion {
        findings: vec![
            expect::share_ok(">= 95 % of those who wait got 200", ANSWERED, of(Temper::Good)),
            Finding::new(
                "99 % of them within 7 s",
                p99.is_some_and(|p99| p99 <= WAIT),
                p99.map_or("nobody waited".to_owned(), seconds),
            ),
            Finding::new(
                "jobs were promised, or refused",
                promised > 0 && refused > 0 && promised + refused == all,
                format!("{promised} and {refused} of {all}"),
            ),
            expect::was_hit(
                "for lack of room beside those who wait",
                history.counter(REFUSED) as usize,
            ),
            expect::ran_once(
                "each request ran once, in its first delivery",
                history,
                history.calls.iter(),
            ),
        ],
        recoveries: p99.into_iter().collect(),
    }
}
