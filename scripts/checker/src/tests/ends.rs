//! I1: ends that are none, and ends that nothing explains.

use super::*;

#[test]
fn a_lost_reply_is_found_however_the_caller_learns_of_it() {
    for end in [
        End::Silent,
        End::Broken("closed".to_owned()),
        problem(504, "/problems/reply-timeout"),
        problem(504, "/problems/outcome-unknown"),
    ] {
        // A timeout explains the late reply that is not there; nothing else may turn red.
        let record = with(end.clone(), Vec::new());
        assert_eq!(broken(&record), [Rule::I1], "{end:?}");
        assert_eq!(judge(&record).count(Rule::I1), 1);
    }
}

#[test]
fn an_error_of_the_service_itself_is_never_a_good_end() {
    for end in [
        problem(500, "/problems/internal"),
        problem(500, "/problems/result-too-large"),
        problem(422, "/problems/validation-failed"),
        problem(404, "/problems/not-found"),
        problem(418, "/problems/unheard-of"),
    ] {
        let mut record = with(end.clone(), Vec::new());
        assert_eq!(broken(&record), [Rule::I1], "{end:?}");
        record.disturbances.uncertain = vec![during(0, 100)];
        record.disturbances.upstream = vec![during(0, 100)];
        assert_eq!(broken(&record), [Rule::I1], "{end:?}");
    }
}

#[test]
fn a_request_expires_only_when_its_time_is_over() {
    let mut record = with(problem(504, "/problems/expired"), Vec::new());
    assert_eq!(broken(&record), [Rule::I1]);
    record.calls[NUMBER as usize - 1].took = BUDGET / 2;
    assert_eq!(broken(&record), [Rule::I1]);
    // A moment before, so that the answer is in time.
    record.calls[NUMBER as usize - 1].took = BUDGET - Duration::from_millis(700);
    assert_eq!(broken(&record), []);
}

#[test]
fn the_upstream_fails_only_those_who_ask_while_it_is_sick_or_given_a_pause() {
    for end in [
        problem(502, "/problems/upstream-failed"),
        problem(504, "/problems/upstream-timeout"),
        problem(503, "/problems/upstream-unavailable"),
    ] {
        let mut record = with(end, Vec::new());
        assert_eq!(broken(&record), [Rule::I1]);
        record.disturbances.upstream = vec![during(1, 2)];
        assert_eq!(broken(&record), []);
        record.disturbances.upstream = vec![during(4, 8)];
        assert_eq!(broken(&record), [Rule::I1]);
    }
    let mut record = clean();
    record.issued = 13;
    record.calls.push(call(60, problem(502, "/problems/upstream-failed")));
    record.calls[12].number = 13;
    record.disturbances.upstream = vec![during(1, 29)];
    assert_eq!(broken(&record), [Rule::I1]);
}

#[test]
fn a_broken_connection_is_excused_only_by_the_end_of_its_own_ingress() {
    let mut record = with(End::Broken("reset".to_owned()), ran([NUMBER]));
    record.disturbances.kills = HashMap::from([(INGRESS + 1, secs(3))]);
    assert_eq!(broken(&record), [Rule::I1]);
    record.disturbances.kills = HashMap::from([(INGRESS, secs(8))]);
    assert_eq!(broken(&record), [Rule::I1]);
    record.disturbances.kills = HashMap::from([(INGRESS, secs(3))]);
    assert_eq!(broken(&record), []);
}

#[test]
fn a_timeout_is_excused_where_the_request_was_destroyed() {
    let mut record = with(problem(504, "/problems/reply-timeout"), ran([NUMBER]));
    record.disturbances.destroyed = vec![secs(8)];
    assert_eq!(broken(&record), [Rule::I1]);
    record.calls[NUMBER as usize - 1].took = secs(6);
    assert_eq!(broken(&record), []);
}

#[test]
fn a_timeout_is_excused_where_the_broker_was_away_at_the_end_of_the_wait() {
    let mut record = with(problem(504, "/problems/reply-timeout"), ran([NUMBER]));
    record.disturbances.uncertain = vec![during(2, 20)];
    assert_eq!(broken(&record), [Rule::I1]);
    record.calls[NUMBER as usize - 1].took = BUDGET;
    assert_eq!(broken(&record), [Rule::I1]);
    record.disturbances.uncertain = vec![during(20, 34)];
    assert_eq!(broken(&record), []);
    // Nothing could be promised to who waits for less.
    record.calls[NUMBER as usize - 1].took = secs(5);
    record.disturbances.uncertain = vec![during(2, 20)];
    assert_eq!(broken(&record), [Rule::I1]);
    record.calls[NUMBER as usize - 1].wait = secs(5);
    assert_eq!(broken(&record), []);
}

#[test]
fn an_unknown_outcome_is_excused_only_while_the_broker_is_out_of_reach() {
    let mut record = with(problem(504, "/problems/outcome-unknown"), ran([NUMBER]));
    record.disturbances.uncertain = vec![during(0, 1), during(4, 9)];
    assert_eq!(broken(&record), [Rule::I1]);
    // It was under way when the broker went away.
    record.calls[NUMBER as usize - 1].took = secs(2);
    assert_eq!(broken(&record), []);
    // The publish of before its return fails a moment after.
    record.calls[NUMBER as usize - 1].took = Duration::from_millis(20);
    record.disturbances.uncertain = vec![secs(1)..Duration::from_millis(2500)];
    assert_eq!(broken(&record), []);
}

#[test]
fn a_dead_letter_and_its_error_reply_go_together() {
    let mut record = with(problem(500, "/problems/dead-lettered"), ran([NUMBER]));
    assert_eq!(broken(&record), [Rule::I1]);
    record.dead_letters = vec![Some(NUMBER)];
    assert_eq!(broken(&record), []);
    record.dead_letters.push(Some(4));
    assert_eq!(broken(&record), [Rule::I1]);
}

#[test]
fn a_call_ends_as_cancelled_only_where_somebody_cancelled_it() {
    let cancelled = || problem(409, "/problems/cancelled");
    let mut record = with(cancelled(), ran([NUMBER]));
    assert_eq!(broken(&record), [Rule::I1]);
    record.promises = vec![Promise {
        number: NUMBER,
        wish: Wish::Either,
        end: cancelled(),
        heard: secs(4),
    }];
    assert_eq!(broken(&record), []);
}
