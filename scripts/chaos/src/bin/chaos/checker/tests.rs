//! Forged histories: each has one thing wrong with it, and that is what must be found.

use chaos::ledger::Run;
use chaos::nonce::{Nonce, Temper};

use super::*;
use crate::history::{Event, Promise, Runs, Wish};
use crate::usage::Usage;

const INGRESS: u32 = 4;

fn call(number: u64, end: End) -> Call {
    let answered = !matches!(end, End::Silent | End::Broken(_) | End::TurnedAway);
    Call {
        number,
        temper: Temper::Good,
        via: Via::Ingress(INGRESS),
        sent: Duration::from_secs(number),
        took: Duration::from_millis(20),
        end,
        answers: u32::from(answered),
    }
}

fn ran(numbers: impl IntoIterator<Item = u64>) -> Runs {
    let run = |number| Run {
        nonce: Nonce {
            temper: Temper::Good,
            run: 1,
            number,
        },
        delivery: 1,
        pid: 1,
        uptime: Duration::ZERO,
        wall: Duration::ZERO,
    };
    Runs::of(1, numbers.into_iter().map(run).collect())
}

/// Ten calls, answered well, and two that were refused.
fn clean() -> History {
    let usage = Usage {
        resident: 20 << 20,
        descriptors: 20,
    };
    let mut calls: Vec<_> = (0..10).map(|number| call(number, End::Ok)).collect();
    calls.push(call(10, End::Problem(503, "/problems/overloaded")));
    calls.push(call(11, End::Problem(429, "/problems/overloaded")));
    History {
        calls,
        runs: ran(0..10),
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

/// The invariants that do not hold, by the first two letters of their names.
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
    assert_eq!((judgement.messages, judgement.accepted), (12, 10));
}

#[test]
fn a_lost_reply_is_found_however_the_caller_learns_of_it() {
    for end in [
        End::Silent,
        End::Broken("closed".to_owned()),
        End::Problem(504, "/problems/reply-timeout"),
        End::Problem(504, "/problems/outcome-unknown"),
    ] {
        let mut history = clean();
        history.calls[3] = call(3, end.clone());
        // A timeout explains the late reply that is not there; nothing else may turn red.
        history.runs = ran((0..10).filter(|number| *number != 3));
        assert_eq!(broken(&history), ["I1"], "{end:?}");
        assert_eq!(judge(&history).lost, 1);
    }
}

#[test]
fn a_caller_who_found_nobody_has_lost_nothing_and_is_still_named() {
    let mut history = clean();
    history.calls[3] = call(3, End::TurnedAway);
    history.runs = ran((0..10).filter(|number| *number != 3));
    assert_eq!(broken(&history), ["no"]);
    assert_eq!(judge(&history).lost, 0);
    history.allowed.turned_away = true;
    assert_eq!(broken(&history), [""; 0]);
}

#[test]
fn an_expired_request_has_its_end() {
    let mut history = clean();
    history.calls[3] = call(3, End::Problem(504, "/problems/expired"));
    assert_eq!(broken(&history), [""; 0]);
}

#[test]
fn a_broken_connection_is_excused_only_by_the_end_of_its_own_ingress() {
    let mut history = clean();
    history.calls[3] = call(3, End::Broken("reset".to_owned()));
    history.events = vec![step(3, Step::KillIngress(0), Some(INGRESS + 1))];
    assert_eq!(broken(&history), ["I1"]);
    history.events = vec![step(8, Step::KillIngress(0), Some(INGRESS))];
    assert_eq!(broken(&history), ["I1"]);
    history.events = vec![step(3, Step::KillIngress(0), Some(INGRESS))];
    assert_eq!(broken(&history), [""; 0]);
}

#[test]
fn a_timeout_is_excused_only_where_the_request_was_destroyed() {
    let mut history = clean();
    history.calls[3] = call(3, End::Problem(504, "/problems/reply-timeout"));
    history.events = vec![step(3, Step::FlushAll, None)];
    assert_eq!(broken(&history), ["I1"]);
    history.allowed.destroyed = true;
    assert_eq!(broken(&history), [""; 0]);
    history.events = vec![step(8, Step::FlushAll, None)];
    assert_eq!(broken(&history), ["I1"]);
}

#[test]
fn an_unknown_outcome_is_excused_where_redis_is_broken() {
    let mut history = clean();
    history.calls[3] = call(3, End::Problem(504, "/problems/outcome-unknown"));
    history.allowed.outcome_unknown = true;
    assert_eq!(broken(&history), [""; 0]);
}

#[test]
fn a_dead_letter_and_its_error_reply_go_together() {
    let mut history = clean();
    history.calls[3] = call(3, End::Problem(500, "/problems/dead-lettered"));
    assert_eq!(broken(&history), ["I1"]);
    history.dead_letters = vec![Some(3)];
    assert_eq!(broken(&history), [""; 0]);
    history.dead_letters.push(Some(4));
    assert_eq!(broken(&history), ["I1"]);
}

#[test]
fn a_swapped_reply_is_found() {
    let mut history = clean();
    history.calls[3] = call(3, End::Foreign("good-00000001-4".to_owned()));
    assert_eq!(broken(&history), ["I2"]);
    history.calls[3] = call(3, End::Damaged("cut short".to_owned()));
    assert_eq!(broken(&history), ["I2"]);
    assert_eq!(judge(&history).wrong, 1);
}

#[test]
fn a_refusal_that_ran_is_found() {
    for end in [
        End::Problem(503, "/problems/overloaded"),
        End::Problem(503, "/problems/upstream-unavailable"),
        End::Problem(429, "/problems/overloaded"),
        End::Problem(404, "/problems/not-found"),
    ] {
        let mut history = clean();
        history.calls[3] = call(3, end);
        assert_eq!(broken(&history), ["I3"]);
    }
}

#[test]
fn a_second_reply_is_found_on_the_wire_and_by_an_ingress() {
    let mut history = clean();
    history.calls[3].via = Via::Wire;
    history.calls[3].answers = 2;
    assert_eq!(broken(&history), ["I4"]);
    let mut history = clean();
    history.late_replies = vec![(INGRESS, 2)];
    assert_eq!(broken(&history), ["I4"]);
    assert_eq!(judge(&history).duplicates, 2);
}

#[test]
fn a_late_reply_is_excused_by_a_caller_who_left_that_ingress() {
    let mut history = clean();
    history.calls[3] = call(3, End::Problem(504, "/problems/outcome-unknown"));
    history.allowed.outcome_unknown = true;
    history.late_replies = vec![(INGRESS, 1)];
    assert_eq!(broken(&history), [""; 0]);
    history.calls[3].via = Via::Ingress(INGRESS + 1);
    assert_eq!(broken(&history), ["I4"]);
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

#[test]
fn a_promise_that_is_not_kept_or_kept_twice_is_found() {
    let cancelled = || End::Problem(409, "/problems/cancelled");
    let lost = End::Problem(404, "/problems/unknown-request");
    let foreign = End::Foreign("another".to_owned());
    for (number, wish, end, well) in [
        (1, Wish::Kept, End::Ok, true),
        (1, Wish::Either, End::Ok, true),
        (1, Wish::Either, cancelled(), true),
        (50, Wish::Cancelled, cancelled(), true),
        (1, Wish::Kept, lost, false),
        (1, Wish::Kept, foreign, false),
        (1, Wish::Kept, cancelled(), false),
        (1, Wish::Kept, End::Silent, false),
        (50, Wish::Cancelled, End::Ok, false),
        // It ran all the same.
        (1, Wish::Cancelled, cancelled(), false),
        // Twice in one delivery.
        (2, Wish::Kept, End::Ok, false),
    ] {
        let mut history = clean();
        history.runs = ran((0..10).chain([2]));
        history.promises = vec![Promise { number, wish, end }];
        let judgement = judge(&history);
        let finding = judgement
            .findings
            .iter()
            .find(|finding| finding.expected.contains("promise"));
        assert_eq!(finding.expect("it is judged").passed, well, "{:?}", history.promises);
    }
}
