//! Forged histories: each has one thing wrong with it, and that is what must be found.

use checker::nonce::{Nonce, Temper};
use checker::{Run, Runs, Via};

use super::*;
use crate::fault_proxy::NetworkFault;
use crate::history::{Event, Usage};
use crate::step::Step;
use crate::upstream::Mood;

const INGRESS: u32 = 4;
const WORKER: u32 = 4711;
const BUDGET: Duration = Duration::from_secs(30);

/// A call, sent so many seconds after the beginning as its number says.
fn call(number: u64, end: End) -> Call {
    Call {
        number,
        temper: Temper::Good,
        via: Via::Ingress(INGRESS),
        sent: Duration::from_secs(number),
        took: Duration::from_millis(20),
        budget: BUDGET,
        wait: BUDGET,
        answers: u32::from(end == End::Ok),
        end,
    }
}

/// A run of a request.
fn run(number: u64, delivery: u32, at: u64) -> Run {
    let nonce = Nonce {
        temper: Temper::Good,
        run: 1,
        number,
    };
    Run {
        nonce,
        delivery,
        worker: WORKER + delivery,
        at: Duration::from_secs(at),
    }
}

/// Ten calls, answered well, and nothing left of them.
fn clean() -> History {
    let usage = Usage {
        resident: 20 << 20,
        descriptors: 20,
    };
    History {
        calls: (1..=10).map(|number| call(number, End::Ok)).collect(),
        issued: 10,
        runs: Runs::of(1, (1..=10).map(|number| run(number, 1, number))),
        late_replies: vec![(INGRESS, 0)],
        remains: Remains {
            consumers: 3,
            live_workers: 3,
            reply_streams: 1,
            live_ingresses: 1,
            growth: vec![Growth {
                process: "ingress".to_owned(),
                before: usage,
                after: usage,
            }],
            settled: Some(Duration::ZERO),
            ..Remains::default()
        },
        ..History::default()
    }
}

/// A clean history but for the end of request 4.
fn with(end: End) -> History {
    let mut history = clean();
    history.calls[3] = call(4, end);
    history
}

/// What does not hold, by the first two letters of its name.
fn broken(history: &History) -> Vec<String> {
    let findings = judge(history).findings;
    let broken = findings.iter().filter(|finding| !finding.passed);
    broken.map(|finding| finding.expected[..2].to_owned()).collect()
}

fn step(at: u64, step: Step, instance: Option<u32>) -> Event {
    let at = Duration::from_secs(at);
    Event {
        at,
        done: at,
        what: What::Step(step, instance),
    }
}

#[test]
fn a_clean_history_passes() {
    let judgement = judge(&clean());
    assert_eq!(broken(&clean()), [""; 0], "{judgement:?}");
    assert_eq!((judgement.messages, judgement.accepted), (10, 10));
}

#[test]
fn what_the_checker_finds_is_counted() {
    let mut history = with(End::Silent);
    history.calls[4] = call(5, End::Foreign("another".to_owned()));
    history.calls[5].answers = 3;
    let judgement = judge(&history);
    assert_eq!(broken(&history), ["I1", "I2", "I4"]);
    assert_eq!((judgement.lost, judgement.wrong, judgement.duplicates), (1, 1, 1));
}

#[test]
fn the_end_of_its_ingress_excuses_a_broken_connection() {
    let mut history = with(End::Broken("reset".to_owned()));
    history.events = vec![step(4, Step::KillIngress(0), Some(INGRESS + 1))];
    assert_eq!(broken(&history), ["I1"]);
    history.events = vec![step(4, Step::KillIngress(0), Some(INGRESS))];
    assert_eq!(broken(&history), [""; 0]);
}

#[test]
fn what_a_scenario_destroys_excuses_a_timeout() {
    for destroys in [Step::FlushAll, Step::DestroyGroup] {
        let mut history = with(End::Problem(504, "/problems/reply-timeout"));
        assert_eq!(broken(&history), ["I1"]);
        history.events = vec![step(4, destroys, None)];
        assert_eq!(broken(&history), [""; 0]);
    }
}

#[test]
fn a_broken_way_to_redis_excuses_an_unknown_outcome_while_it_lasts() {
    for (begins, ends) in [
        (Step::KillRedis, Step::StartRedis),
        (
            Step::Network(NetworkFault::BlackHole),
            Step::Network(NetworkFault::Pass),
        ),
        (Step::Network(NetworkFault::Reset), Step::Network(NetworkFault::Pass)),
    ] {
        let mut history = with(End::Problem(504, "/problems/outcome-unknown"));
        assert_eq!(broken(&history), ["I1"]);
        history.events = vec![step(1, begins, None), step(2, ends, None)];
        assert_eq!(broken(&history), ["I1"]);
        history.events.push(step(3, begins, None));
        assert_eq!(broken(&history), [""; 0]);
    }
    let mut history = with(End::Problem(504, "/problems/outcome-unknown"));
    history.events = vec![
        step(1, Step::KillIngress(0), Some(9)),
        step(2, Step::KillWorker(0), Some(9)),
    ];
    assert_eq!(broken(&history), ["I1"]);
}

#[test]
fn a_sick_upstream_excuses_its_errors() {
    let mut history = with(End::Problem(502, "/problems/upstream-failed"));
    assert_eq!(broken(&history), ["I1"]);
    history.events = vec![step(3, Step::Upstream(Mood::Failing), None)];
    assert_eq!(broken(&history), [""; 0]);
}

#[test]
fn only_what_costs_a_worker_its_lease_excuses_a_second_run() {
    let cut_off = Step::Network(NetworkFault::BlackHole);
    let back = Step::Network(NetworkFault::Pass);
    let victim = WORKER + 1;
    for (events, expected) in [
        (vec![], "ru"),
        (vec![step(5, Step::KillWorker(0), Some(victim))], ""),
        (vec![step(5, Step::KillWorker(0), Some(victim + 1))], "ru"),
        (vec![step(5, Step::FreezeWorker(0), Some(victim))], ""),
        (vec![step(5, Step::RollWorker(0), Some(victim))], "ru"),
        (vec![step(5, cut_off, None), step(10, back, None)], ""),
        (vec![step(5, cut_off, None), step(7, back, None)], "ru"),
    ] {
        let mut history = clean();
        let runs = (1..=10).map(|number| run(number, 1, number));
        history.runs = Runs::of(1, runs.chain([run(4, 2, 11)]));
        history.events = events;
        assert_eq!(broken(&history).concat(), expected, "{:?}", history.events);
    }
    let lost = |worker| Event {
        at: Duration::from_secs(5),
        done: Duration::from_secs(5),
        what: What::Lost(worker),
    };
    let mut history = clean();
    history.runs = Runs::of(1, (1..=10).map(|number| run(number, 1, number)).chain([run(4, 2, 11)]));
    history.events = vec![lost(victim)];
    assert_eq!(broken(&history), [""; 0]);
}

#[test]
fn a_request_that_vanished_is_named() {
    let mut history = clean();
    history.issued = 11;
    assert_eq!(broken(&history), ["ev"]);
}

#[test]
fn a_caller_who_found_nobody_is_named() {
    let mut history = with(End::TurnedAway);
    history.runs = Runs::of(
        1,
        (1..=10)
            .filter(|number| *number != 4)
            .map(|number| run(number, 1, number)),
    );
    assert_eq!(broken(&history), ["no"]);
    assert_eq!(judge(&history).lost, 0);
    history.allowed.turned_away = true;
    assert_eq!(broken(&history), [""; 0]);
}

#[test]
fn each_leak_is_found() {
    let spoil: [fn(&mut Remains); 9] = [
        |remains| remains.requests = 1,
        |remains| remains.pending = 1,
        |remains| remains.consumers = 4,
        |remains| remains.stale_consumers = 1,
        |remains| remains.reply_streams = 2,
        |remains| remains.requesters = 2,
        |remains| remains.surplus.push("nobody knows the key x (list)".to_owned()),
        |remains| remains.growth[0].after.resident = 100 << 20,
        |remains| remains.growth[0].after.descriptors = 40,
    ];
    for spoil in spoil {
        let mut history = clean();
        spoil(&mut history.remains);
        assert_eq!(broken(&history), ["I5"], "{:?}", history.remains);
        assert!(!history.remains.is_clean());
    }
}

#[test]
fn a_load_that_was_none_is_found() {
    let mut history = clean();
    history.starved = 1;
    assert_eq!(broken(&history), ["as"]);
}

#[test]
fn a_death_is_a_finding_unless_it_belongs_to_the_scenario() {
    let mut history = clean();
    let event = |what| Event {
        at: Duration::ZERO,
        done: Duration::ZERO,
        what,
    };
    history.events = vec![event(What::Died("worker: it ended".to_owned()))];
    assert_eq!(broken(&history), ["no"]);
    history
        .events
        .push(event(What::Restarted("worker: it ended".to_owned())));
    assert_eq!(broken(&history), [""; 0]);
}
