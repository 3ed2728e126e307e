//! I2, I3 and I4: answers that are another's, refusals of what ran, second replies.

use super::*;

#[test]
fn a_swapped_reply_is_found() {
    for end in [
        End::Foreign("good-00000001-4".to_owned()),
        End::Damaged("cut short".to_owned()),
    ] {
        let record = with(end, ran([NUMBER]));
        assert_eq!(broken(&record), [Rule::I2]);
        assert_eq!(judge(&record).count(Rule::I2), 1);
    }
}

#[test]
fn an_answer_to_what_never_ran_is_found() {
    assert_eq!(broken(&with(End::Ok, Vec::new())), [Rule::I2]);
}

#[test]
fn a_refusal_that_ran_is_found() {
    for end in [
        problem(503, "/problems/overloaded"),
        problem(503, "/problems/broker-unavailable"),
        problem(503, "/problems/upstream-unavailable"),
        problem(429, "/problems/overloaded"),
        End::TurnedAway,
    ] {
        let mut record = with(end, ran([NUMBER]));
        record.disturbances.upstream = vec![during(0, 100)];
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
    let mut record = with(problem(504, "/problems/outcome-unknown"), ran([NUMBER]));
    record.disturbances.uncertain = vec![during(3, 4)];
    record.late_replies = vec![(INGRESS, 1)];
    assert_eq!(broken(&record), []);
    record.calls[NUMBER as usize - 1].via = Via::Ingress(INGRESS + 1);
    assert_eq!(broken(&record), [Rule::I4]);
}

#[test]
fn a_late_reply_is_excused_by_a_caller_who_read_its_record_at_the_end_of_its_wait() {
    let mut record = clean();
    record.late_replies = vec![(INGRESS, 1)];
    assert_eq!(broken(&record), [Rule::I4]);
    record.calls[3].wait = record.calls[3].took;
    assert_eq!(broken(&record), []);
}

#[test]
fn a_late_reply_is_excused_where_the_broker_was_lost_before_its_removal() {
    let mut record = clean();
    record.late_replies = vec![(INGRESS, 1)];
    record.disturbances.uncertain = vec![Duration::from_millis(3200)..secs(6)];
    assert_eq!(broken(&record), [Rule::I4]);
    record.disturbances.uncertain = vec![Duration::from_millis(3050)..secs(6)];
    assert_eq!(broken(&record), []);
    record.late_replies = vec![(INGRESS, 2)];
    assert_eq!(broken(&record), [Rule::I4]);
}

#[test]
fn who_does_not_wait_gets_no_reply_that_could_be_late() {
    for end in [End::Promised, problem(503, "/problems/overloaded")] {
        let mut record = with(end.clone(), Vec::new());
        record.calls[NUMBER as usize - 1].wait = Duration::ZERO;
        record.late_replies = vec![(INGRESS, 1)];
        assert_eq!(judge(&record).count(Rule::I4), 1, "{end:?}");
    }
}
