//! Forged histories: each has one thing wrong with it, and that is what must be found.

use checker::Via;
use checker::nonce::Temper;

use super::*;
use crate::history::Event;
use crate::usage::Usage;

const INGRESS: u32 = 4;

fn call(number: u64, end: End) -> Call {
    Call {
        number,
        temper: Temper::Good,
        via: Via::Ingress(INGRESS),
        sent: Duration::from_secs(number),
        took: Duration::from_millis(20),
        answers: u32::from(end == End::Ok),
        end,
    }
}

/// Ten calls, answered well, and nothing left of them.
fn clean() -> History {
    let usage = Usage {
        resident: 20 << 20,
        descriptors: 20,
    };
    History {
        calls: (0..10).map(|number| call(number, End::Ok)).collect(),
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
    let mut history = clean();
    history.calls[3] = call(3, End::Silent);
    history.calls[4] = call(4, End::Foreign("another".to_owned()));
    history.calls[5].answers = 3;
    let judgement = judge(&history);
    assert_eq!(broken(&history), ["I1", "I2", "I4"]);
    assert_eq!((judgement.lost, judgement.wrong, judgement.duplicates), (1, 1, 1));
}

#[test]
fn the_end_of_its_ingress_excuses_a_broken_connection() {
    let mut history = clean();
    history.calls[3] = call(3, End::Broken("reset".to_owned()));
    history.events = vec![step(3, Step::KillIngress(0), Some(INGRESS + 1))];
    assert_eq!(broken(&history), ["I1"]);
    history.events = vec![step(3, Step::KillIngress(0), Some(INGRESS))];
    assert_eq!(broken(&history), [""; 0]);
}

#[test]
fn what_a_scenario_destroys_excuses_a_timeout() {
    let mut history = clean();
    history.calls[3] = call(3, End::Problem(504, "/problems/reply-timeout"));
    history.events = vec![step(3, Step::FlushAll, None)];
    assert_eq!(broken(&history), ["I1"]);
    history.allowed.destroyed = true;
    assert_eq!(broken(&history), [""; 0]);
}

#[test]
fn a_broken_redis_excuses_an_unknown_outcome() {
    let mut history = clean();
    history.calls[3] = call(3, End::Problem(504, "/problems/outcome-unknown"));
    assert_eq!(broken(&history), ["I1"]);
    history.allowed.outcome_unknown = true;
    assert_eq!(broken(&history), [""; 0]);
}

#[test]
fn a_caller_who_found_nobody_is_named() {
    let mut history = clean();
    history.calls[3] = call(3, End::TurnedAway);
    assert_eq!(broken(&history), ["no"]);
    assert_eq!(judge(&history).lost, 0);
    history.allowed.turned_away = true;
    assert_eq!(broken(&history), [""; 0]);
}

#[test]
fn each_leak_is_found() {
    let spoil: [fn(&mut Remains); 8] = [
        |remains| remains.requests = 1,
        |remains| remains.pending = 1,
        |remains| remains.consumers = 4,
        |remains| remains.stale_consumers = 1,
        |remains| remains.reply_streams = 2,
        |remains| remains.requesters = 2,
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
