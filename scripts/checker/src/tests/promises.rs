//! Promises that are not kept, and promises that nobody followed.

use super::*;

/// A call that was promised its result, which ran so, and what was got for it 10 seconds later.
fn promised(wish: Wish, end: End, runs: Vec<Run>) -> Record {
    let mut record = with(End::Promised, runs);
    record.promises = vec![Promise {
        number: NUMBER,
        wish,
        end,
        heard: secs(13),
    }];
    record
}

fn cancelled() -> End {
    problem(409, "/problems/cancelled")
}

#[test]
fn a_promise_that_is_not_kept_is_found() {
    let lost = || problem(404, "/problems/unknown-request");
    for (wish, end, runs, well) in [
        (Wish::Kept, End::Ok, 1, true),
        (Wish::Known, End::Ok, 1, true),
        (Wish::Either, End::Ok, 1, true),
        (Wish::Either, cancelled(), 1, true),
        (Wish::Cancelled, cancelled(), 0, true),
        (Wish::Kept, lost(), 1, false),
        (Wish::Known, lost(), 0, false),
        (Wish::Kept, problem(409, "/problems/not-finished"), 1, false),
        (Wish::Kept, problem(500, "/problems/internal"), 1, false),
        (Wish::Kept, End::Foreign("another".to_owned()), 1, false),
        (Wish::Kept, cancelled(), 0, false),
        (Wish::Known, cancelled(), 0, false),
        (Wish::Kept, End::Silent, 1, false),
        (Wish::Cancelled, End::Ok, 1, false),
        // It ran all the same.
        (Wish::Cancelled, cancelled(), 1, false),
        // Whose result is that?
        (Wish::Kept, End::Ok, 0, false),
    ] {
        let record = promised(wish, end, ran([NUMBER].repeat(runs)));
        let expected: &[Rule] = if well { &[] } else { &[Rule::Promises] };
        assert_eq!(broken(&record), expected, "{:?}", record.promises);
    }
}

#[test]
fn a_promise_that_nobody_followed_is_found() {
    assert_eq!(broken(&with(End::Promised, ran([NUMBER]))), [Rule::Promises]);
}

#[test]
fn a_promise_of_no_call_is_found() {
    let mut record = promised(Wish::Kept, End::Ok, ran([NUMBER]));
    record.promises[0].number = 99;
    assert_eq!(
        judge(&record)
            .of(Rule::Promises)
            .filter(|one| one.number == Some(99))
            .count(),
        1
    );
}

#[test]
fn a_promise_expires_only_where_its_time_is_over_and_nothing_was_done() {
    let expired = || problem(504, "/problems/expired");
    let mut record = promised(Wish::Kept, expired(), Vec::new());
    assert_eq!(broken(&record), [Rule::Promises]);
    record.promises[0].heard = secs(160);
    assert_eq!(broken(&record), []);
    let mut record = promised(Wish::Kept, expired(), ran([NUMBER]));
    record.promises[0].heard = secs(160);
    assert_eq!(broken(&record), [Rule::Promises]);
    record.disturbances.interruptions = vec![Interruption {
        worker: Some(WORKER),
        during: during(3, 4),
    }];
    assert_eq!(broken(&record), []);
}

#[test]
fn work_that_was_begun_at_the_end_of_its_time_may_expire() {
    let late = run(NUMBER, 1, WORKER, secs(NUMBER) + BUDGET - secs(1) / 2);
    let mut record = promised(Wish::Kept, problem(504, "/problems/expired"), vec![late]);
    record.promises[0].heard = secs(160);
    assert_eq!(broken(&record), []);
}

#[test]
fn a_promise_that_was_destroyed_is_gone() {
    let mut record = promised(Wish::Kept, problem(404, "/problems/unknown-request"), ran([NUMBER]));
    record.disturbances.destroyed = vec![secs(2), secs(20)];
    assert_eq!(broken(&record), [Rule::Promises]);
    record.disturbances.destroyed = vec![secs(6)];
    assert_eq!(broken(&record), []);
}

#[test]
fn a_promise_fails_as_its_call_would() {
    let mut record = promised(Wish::Kept, problem(502, "/problems/upstream-failed"), ran([NUMBER]));
    assert_eq!(broken(&record), [Rule::Promises]);
    record.disturbances.upstream = vec![during(8, 9)];
    assert_eq!(broken(&record), []);
    let mut record = promised(Wish::Kept, problem(500, "/problems/dead-lettered"), ran([NUMBER]));
    assert_eq!(broken(&record), [Rule::Promises]);
    record.dead_letters = vec![Some(NUMBER)];
    assert_eq!(broken(&record), []);
}
