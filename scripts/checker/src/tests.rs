//! Forged records: each has one thing wrong with it, and that is what must be found; and nothing is found where
//! something explains it.

mod answers;
mod ends;
mod promises;
mod runs;

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use crate::nonce::{Nonce, Temper};
use crate::*;

const INGRESS: u32 = 4;
const WORKER: u32 = 7;
const BUDGET: Duration = Duration::from_secs(30);

/// What is done to the record of the one request that is of interest.
const NUMBER: u64 = 3;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn during(from: u64, until: u64) -> Range<Duration> {
    secs(from)..secs(until)
}

fn problem(status: u16, kind: &'static str) -> End {
    End::Problem(status, kind)
}

/// A call, sent so many seconds after the beginning as its number says.
fn call(number: u64, end: End) -> Call {
    let answered = !matches!(end, End::Silent | End::Broken(_) | End::TurnedAway | End::Open);
    Call {
        number,
        temper: Temper::Good,
        via: Via::Ingress(INGRESS),
        sent: secs(number),
        took: Duration::from_millis(20),
        budget: BUDGET,
        wait: BUDGET,
        end,
        answers: u32::from(answered),
    }
}

fn run(number: u64, delivery: u32, worker: u32, at: Duration) -> Run {
    let nonce = Nonce {
        temper: Temper::Good,
        run: 1,
        number,
    };
    Run {
        nonce,
        delivery,
        worker,
        at,
    }
}

/// Each of these ran once, as soon as it was sent.
fn ran(numbers: impl IntoIterator<Item = u64>) -> Vec<Run> {
    let once = |number| run(number, 1, WORKER, secs(number));
    numbers.into_iter().map(once).collect()
}

/// Ten calls, answered well, and two that were refused.
fn clean() -> Record {
    let mut calls: Vec<_> = (1..=10).map(|number| call(number, End::Ok)).collect();
    calls.push(call(11, problem(503, "/problems/overloaded")));
    calls.push(call(12, problem(429, "/problems/overloaded")));
    Record {
        calls,
        runs: Runs::of(1, ran(1..=10)),
        late_replies: vec![(INGRESS, 0)],
        issued: 12,
        work: secs(1),
        ..Record::default()
    }
}

/// A clean record but for the end of one call, which ran so.
fn with(end: End, runs: Vec<Run>) -> Record {
    let mut record = clean();
    record.calls[NUMBER as usize - 1] = call(NUMBER, end);
    let others = ran((1..=10).filter(|number| *number != NUMBER));
    record.runs = Runs::of(1, others.into_iter().chain(runs));
    record
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
fn a_violation_names_its_rule_and_its_request() {
    let judgement = judge(&with(End::Silent, Vec::new()));
    let [violation] = judgement.violations.as_slice() else {
        panic!("{judgement:?}");
    };
    assert_eq!((violation.rule, violation.number), (Rule::I1, Some(NUMBER)));
    assert_eq!(violation.to_string(), "request 3 at 3.00 s: no answer at all");
    let findings = judgement.findings();
    let failed: Vec<_> = findings.iter().filter(|finding| !finding.passed).collect();
    assert_eq!(failed[0].measured, "1: request 3 at 3.00 s: no answer at all");
    assert!(!judgement.passed() && failed.len() == 1);
}

#[test]
fn a_number_without_a_call_is_found() {
    let mut record = clean();
    record.issued = 14;
    assert_eq!(broken(&record), [Rule::Accounted]);
    assert_eq!(judge(&record).count(Rule::Accounted), 2);
}

#[test]
fn a_call_that_its_caller_never_closed_is_found() {
    assert_eq!(broken(&with(End::Open, ran([NUMBER]))), [Rule::Accounted]);
}

#[test]
fn a_number_that_is_there_twice_or_was_never_handed_out_is_found() {
    let mut record = clean();
    record.calls.push(call(NUMBER, End::Ok));
    assert_eq!(broken(&record), [Rule::Accounted]);
    let mut record = clean();
    record.issued = 11;
    assert_eq!(broken(&record), [Rule::Accounted]);
}

#[test]
fn a_run_that_nobody_asked_for_is_found() {
    let mut record = clean();
    record.runs = Runs::of(1, ran((1..=10).chain([99])));
    assert_eq!(broken(&record), [Rule::Accounted]);
}

#[test]
fn a_dead_letter_that_is_none_of_ours_is_found() {
    for letter in [None, Some(99)] {
        let mut record = clean();
        record.dead_letters = vec![letter];
        assert_eq!(broken(&record), [Rule::Accounted], "{letter:?}");
    }
}
