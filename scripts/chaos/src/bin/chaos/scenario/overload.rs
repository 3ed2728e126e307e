//! Three times as much is asked as the workers can do. As much as before is done all the same, the rest is refused at
//! once, and nothing of it lingers when it is over. Capacity is terminals by latency: the machine is not the limit.
//! What goes past the ingresses is refused by nobody, and has less time than the queue takes: it expires, and never
//! begins.

use std::time::Duration;

use fastrand::Rng;

use super::{Plan, Profile, Scenario, secs};
use crate::cluster::Setup;
use crate::expect;
use crate::finding::{Finding, Opinion, quantile, seconds};
use crate::history::{Call, Event, History, Via, What};
use crate::step::{Load, Step};

pub(super) const SCENARIO: Scenario = Scenario {
    id: "overload",
    about: "three times the peak",
    alone: true,
    plan,
    judge,
};

/// Two workers of 16 terminals, 50 ms each: 640 a second.
const WORKERS: usize = 2;
const TERMINALS: usize = 16;
const LATENCY: &str = "50ms";

/// The time of those that go past the ingresses: more than normally needed, less than the queue takes.
const SHORT: Duration = Duration::from_millis(500);

/// What a request takes that does not wait, several times over.
const NORMAL: Duration = Duration::from_millis(500);

fn plan(profile: Profile, _: &mut Rng) -> Plan {
    let busy = 2 * WORKERS * TERMINALS;
    Plan {
        setup: Setup {
            ingresses: 1,
            workers: WORKERS,
            // Out of reach: what protects the services must know how long the queue is, not how many wait.
            ingress: vec![("MAX_IN_FLIGHT", "65536".to_owned())],
            worker: vec![
                ("TERMINALS", TERMINALS.to_string()),
                ("SIMULATED_LATENCY", LATENCY.to_owned()),
            ],
            ..Setup::default()
        },
        steps: vec![
            Step::Load(Load::Closed(busy)),
            Step::Wait(secs(2)),
            Step::MeasurePeak(profile.pick(secs(4), secs(15))),
            Step::LoadTimesPeak(3.0),
            Step::Wait(profile.pick(secs(12), secs(150))),
            Step::LoadTimesPeak(0.5),
            Step::Wait(profile.pick(secs(14), secs(30))),
        ],
        wire: 20.0,
        wire_budget: Some(SHORT),
        // Where nobody is refused, this many seconds of load wait at the same time, each on a connection.
        request_timeout: secs(3),
        ..Plan::default()
    }
}

fn judge(history: &History) -> Opinion {
    let peak = history.events.iter().find_map(|event| match event.what {
        What::Peak(peak) => Some(peak),
        _ => None,
    });
    let loads: Vec<&Event> = expect::steps(history, |step| matches!(step, Step::LoadTimesPeak(_))).collect();
    let (Some(peak), [over, normal]) = (peak, loads.as_slice()) else {
        return Opinion {
            findings: vec![Finding::new("the schedule was done", false, "it was not")],
            recoveries: Vec::new(),
        };
    };
    let (begin, end) = (over.done, normal.done);
    let good = history
        .calls
        .iter()
        .filter(|call| call.is_ok() && (begin..end).contains(&call.ended()))
        .count();
    let goodput = good as f64 / (end - begin).as_secs_f64();
    let refused = |call: &&Call| call.is_problem("overloaded");
    let rejected: Vec<_> = expect::sent(history, begin, end)
        .filter(refused)
        .map(|call| call.took)
        .collect();
    let p99 = quantile(&rejected, 0.99);
    let recovery = back_to_normal(history, end);
    let expired = |call: &&Call| call.via == Via::Wire && call.is_problem("expired");
    let expired = expect::sent(history, begin, end).filter(expired).count();
    Opinion {
        findings: vec![
            Finding::new(
                "goodput >= 90 % of the peak",
                goodput >= 0.9 * peak,
                format!("{goodput:.0}/s of {peak:.0}/s, {:.1} %", 100.0 * goodput / peak),
            ),
            expect::was_hit("requests were refused", rejected.len()),
            Finding::new(
                "99 % of refusals within 10 ms",
                p99.is_some_and(|p99| p99 <= Duration::from_millis(10)),
                p99.map_or("none refused".to_owned(), seconds),
            ),
            Finding::within("back to normal within 10 s", secs(10), &[recovery]),
            expect::was_hit("requests expired behind the queue", expired),
            expect::none_began_late(history),
        ],
        recoveries: vec![recovery],
    }
}

/// How long after the load the last request was sent that was refused, or slow.
fn back_to_normal(history: &History, end: Duration) -> Duration {
    let after = expect::sent(history, end, Duration::MAX);
    let bad = after.filter(|call| !call.is_ok() || call.took > NORMAL);
    bad.map(|call| call.sent - end).max().unwrap_or_default()
}
