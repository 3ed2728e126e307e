//! Forged records: each has one thing wrong with it, and that is what must be found.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use crate::nonce::{Nonce, Temper};
use crate::*;

const INGRESS: u32 = 4;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn whole() -> Vec<Range<Duration>> {
    Vec::from([Duration::ZERO..Duration::MAX])
}

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
        worker: 1,
        at: Duration::from_secs(number),
    };
    Runs::of(1, numbers.into_iter().map(run))
}

/// Ten calls, answered well, and two that were refused.
fn clean() -> Record {
    let mut calls: Vec<_> = (0..10).map(|number| call(number, End::Ok)).collect();
    calls.push(call(10, End::Problem(503, "/problems/overloaded")));
    calls.push(call(11, End::Problem(429, "/problems/overloaded")));
    Record {
        calls,
        runs: ran(0..10),
        late_replies: vec![(INGRESS, 0)],
        ..Record::default()
    }
}

/// The rules that do not hold.
fn broken(record: &Record) -> Vec<Rule> {
    let judgement = judge(record);
    let broken = Rule::ALL.into_iter().filter(|rule| judgement.count(*rule) > 0);
    broken.collect()
}

#[test]
fn a_clean_record_passes() {
    let judgement = judge(&clean());
    assert_eq!(broken(&clean()), [], "{judgement:?}");
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
        let mut record = clean();
        record.calls[3] = call(3, end.clone());
        // A timeout explains the late reply that is not there; nothing else may turn red.
        record.runs = ran((0..10).filter(|number| *number != 3));
        assert_eq!(broken(&record), [Rule::I1], "{end:?}");
        assert_eq!(judge(&record).count(Rule::I1), 1);
    }
}

#[test]
fn an_expired_request_has_its_end() {
    let mut record = clean();
    record.calls[3] = call(3, End::Problem(504, "/problems/expired"));
    assert_eq!(broken(&record), []);
}

#[test]
fn a_broken_connection_is_excused_only_by_the_end_of_its_own_ingress() {
    let mut record = clean();
    record.calls[3] = call(3, End::Broken("reset".to_owned()));
    record.disturbances.kills = HashMap::from([(INGRESS + 1, secs(3))]);
    assert_eq!(broken(&record), [Rule::I1]);
    record.disturbances.kills = HashMap::from([(INGRESS, secs(8))]);
    assert_eq!(broken(&record), [Rule::I1]);
    record.disturbances.kills = HashMap::from([(INGRESS, secs(3))]);
    assert_eq!(broken(&record), []);
}

#[test]
fn a_timeout_is_excused_only_where_the_request_was_destroyed() {
    let mut record = clean();
    record.calls[3] = call(3, End::Problem(504, "/problems/reply-timeout"));
    record.disturbances.destroyed = vec![secs(8)];
    assert_eq!(broken(&record), [Rule::I1]);
    record.disturbances.destroyed = vec![secs(3)];
    assert_eq!(broken(&record), []);
}

#[test]
fn an_unknown_outcome_is_excused_where_the_broker_is_broken() {
    let mut record = clean();
    record.calls[3] = call(3, End::Problem(504, "/problems/outcome-unknown"));
    record.disturbances.uncertain = whole();
    assert_eq!(broken(&record), []);
}

#[test]
fn a_dead_letter_and_its_error_reply_go_together() {
    let mut record = clean();
    record.calls[3] = call(3, End::Problem(500, "/problems/dead-lettered"));
    assert_eq!(broken(&record), [Rule::I1]);
    record.dead_letters = vec![Some(3)];
    assert_eq!(broken(&record), []);
    record.dead_letters.push(Some(4));
    assert_eq!(broken(&record), [Rule::I1]);
}

#[test]
fn a_swapped_reply_is_found() {
    let mut record = clean();
    record.calls[3] = call(3, End::Foreign("good-00000001-4".to_owned()));
    assert_eq!(broken(&record), [Rule::I2]);
    record.calls[3] = call(3, End::Damaged("cut short".to_owned()));
    assert_eq!(broken(&record), [Rule::I2]);
    assert_eq!(judge(&record).count(Rule::I2), 1);
}

#[test]
fn a_refusal_that_ran_is_found() {
    for end in [
        End::Problem(503, "/problems/overloaded"),
        End::Problem(503, "/problems/upstream-unavailable"),
        End::Problem(429, "/problems/overloaded"),
        End::Problem(404, "/problems/not-found"),
    ] {
        let mut record = clean();
        record.calls[3] = call(3, end);
        assert_eq!(broken(&record), [Rule::I3]);
    }
}

#[test]
fn a_second_reply_is_found_on_the_wire_and_by_an_ingress() {
    let mut record = clean();
    record.calls[3].via = Via::Wire;
    record.calls[3].answers = 2;
    assert_eq!(broken(&record), [Rule::I4]);
    let mut record = clean();
    record.late_replies = vec![(INGRESS, 2)];
    assert_eq!(broken(&record), [Rule::I4]);
    assert_eq!(judge(&record).count(Rule::I4), 2);
}

#[test]
fn a_late_reply_is_excused_by_a_caller_who_left_that_ingress() {
    let mut record = clean();
    record.calls[3] = call(3, End::Problem(504, "/problems/outcome-unknown"));
    record.disturbances.uncertain = whole();
    record.late_replies = vec![(INGRESS, 1)];
    assert_eq!(broken(&record), []);
    record.calls[3].via = Via::Ingress(INGRESS + 1);
    assert_eq!(broken(&record), [Rule::I4]);
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
        let mut record = clean();
        record.runs = ran((0..10).chain([2]));
        record.promises = vec![Promise { number, wish, end }];
        let judgement = judge(&record);
        assert_eq!(judgement.count(Rule::Promises) == 0, well, "{:?}", record.promises);
    }
}

#[test]
fn a_violation_names_its_rule_and_its_request() {
    let mut record = clean();
    record.calls[3] = call(3, End::Silent);
    let judgement = judge(&record);
    let [violation] = judgement.violations.as_slice() else {
        panic!("{judgement:?}");
    };
    assert_eq!((violation.rule, violation.number), (Rule::I1, Some(3)));
    assert_eq!(violation.to_string(), "request 3 at 3.00 s: no answer at all");
    let findings = judgement.findings();
    let failed: Vec<_> = findings.iter().filter(|finding| !finding.passed).collect();
    assert_eq!(failed[0].measured, "1: request 3 at 3.00 s: no answer at all");
    assert!(!judgement.passed() && failed.len() == 1);
}
