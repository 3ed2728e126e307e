//! Three times as much is asked as can be done, and Redis has no memory left from one moment to the next; then it has a
//! little, and the ingress refuses before that is used up. What was let in is done all the same.

use std::time::Duration;

use fastrand::Rng;

use super::{Plan, Profile, Scenario, about, secs};
use crate::cluster::Setup;
use crate::expect;
use crate::finding::{Finding, Opinion};
use crate::history::{End, History, What};
use crate::step::{Load, Step};
use crate::wishes::{Prefer, Wishes};

pub(super) const SCENARIO: Scenario = Scenario {
    id: "full-memory",
    about: "redis has no memory left, then hardly any, at three times the peak",
    alone: false,
    plan,
    judge,
};

/// At the door, by a sample; and by Redis itself.
const AT_THE_DOOR: &str = "roundtrip_ingress_refused_total{reason=\"memory\"}";
const BY_REDIS: &str = "roundtrip_ingress_refused_total{reason=\"broker_unavailable\"}";

/// Two workers of 8 terminals, 50 ms each: 320 a second.
const TERMINALS: usize = 8;

/// Room for a second or so of what cannot be done.
const ROOM: u64 = 100_000;

/// Before the next time: results that are kept have used up some.
const PLENTY: u64 = 64 << 20;

/// What a request takes that does not wait, several times over.
const NORMAL: Duration = Duration::from_millis(500);

fn plan(profile: Profile, rng: &mut Rng) -> Plan {
    let mut steps = vec![
        Step::Load(Load::Closed(4 * TERMINALS)),
        Step::Wait(secs(1)),
        Step::MeasurePeak(secs(2)),
    ];
    for _ in 0..profile.pick(1, 6) {
        steps.extend([
            Step::LeaveMemory(PLENTY),
            Step::LoadTimesPeak(3.0),
            // So much waits then that there is work while Redis takes nothing.
            about(secs(2), rng),
            Step::LeaveMemory(0),
            Step::Wait(secs(2)),
            Step::LeaveMemory(ROOM),
            about(secs(3), rng),
            Step::Load(Load::Open(60.0)),
            Step::Wait(secs(8)),
        ]);
    }
    Plan {
        setup: Setup {
            ingresses: 1,
            workers: 2,
            ingress: vec![("MAX_IN_FLIGHT", "65536".to_owned())],
            worker: vec![
                ("TERMINALS", TERMINALS.to_string()),
                ("SIMULATED_LATENCY", "50ms".to_owned()),
            ],
            ..Setup::default()
        },
        steps,
        wishes: vec![Wishes {
            prefer: Prefer::Async,
            // What is kept for them stays when they have it.
            rate: 4.0,
            ..Wishes::default()
        }],
        counters: &[AT_THE_DOOR, BY_REDIS],
        ..Plan::default()
    }
}

fn judge(history: &History) -> Opinion {
    let peak = history.events.iter().find_map(|event| match event.what {
        What::Peak(rate) => Some(rate),
        _ => None,
    });
    let is_load = |step: &Step| matches!(step, Step::Load(Load::Open(_)));
    let loads = expect::steps(history, |step| matches!(step, Step::LoadTimesPeak(_)));
    let phases: Vec<_> = loads
        .map(|event| event.done)
        .zip(expect::steps(history, is_load).map(|event| event.done))
        .collect();
    let strangers: Vec<_> = history
        .calls
        .iter()
        .filter(|call| !is_expected(&call.end))
        .map(|call| {
            format!(
                "request {} at {:.2} s: {:?}",
                call.number,
                call.sent.as_secs_f64(),
                call.end
            )
        })
        .collect();
    let goodput = |(begin, end): &(Duration, Duration)| {
        let good = history
            .calls
            .iter()
            .filter(|call| call.is_ok() && (*begin..*end).contains(&call.ended()));
        good.count() as f64 / (*end - *begin).as_secs_f64()
    };
    let worst = phases.iter().map(goodput).fold(f64::INFINITY, f64::min);
    let share = worst / peak.unwrap_or(f64::INFINITY);
    let over = history.events.last().map(|event| event.done).unwrap_or_default();
    let recoveries: Vec<_> = phases
        .iter()
        .enumerate()
        .map(|(index, (_, end))| {
            let next = phases.get(index + 1).map_or(over, |next| next.0);
            back_to_normal(history, *end, next)
        })
        .collect();
    Opinion {
        findings: vec![
            Finding::new(
                "goodput >= 80 % of the peak meanwhile",
                !phases.is_empty() && share >= 0.8,
                format!("{worst:.0}/s, {:.1} %", 100.0 * share),
            ),
            Finding::none("all answered 200 or 202, or refused with 503", &strangers),
            expect::was_hit(
                "refused at the door, to keep memory",
                history.counter(AT_THE_DOOR) as usize,
            ),
            expect::was_hit("refused by redis", history.counter(BY_REDIS) as usize),
            expect::ran_once(
                "each request ran once, in its first delivery",
                history,
                history.calls.iter(),
            ),
            Finding::within("back to normal within 10 s", secs(10), &recoveries),
        ],
        recoveries,
    }
}

fn is_expected(end: &End) -> bool {
    match end {
        End::Ok | End::Promised => true,
        End::Problem(503, _) => end.is_problem("overloaded") || end.is_problem("broker-unavailable"),
        _ => false,
    }
}

/// How long after the load the last request was sent that was refused, or slow.
fn back_to_normal(history: &History, end: Duration, next: Duration) -> Duration {
    let bad = expect::sent(history, end, next).filter(|call| !call.is_ok() || call.took > NORMAL);
    bad.map(|call| call.sent - end).max().unwrap_or_default()
}
