//! Runs that are too many, and runs that are too late.

use super::*;

const OTHER: u32 = 8;

fn interrupted(worker: Option<u32>, from: u64, until: u64) -> Vec<Interruption> {
    vec![Interruption {
        worker,
        during: during(from, until),
    }]
}

/// A request that a worker began, and another seven seconds later.
fn again() -> Record {
    with(
        End::Ok,
        vec![run(NUMBER, 1, WORKER, secs(3)), run(NUMBER, 2, OTHER, secs(10))],
    )
}

#[test]
fn a_second_run_needs_an_interruption_of_the_worker_that_had_the_first() {
    let mut record = again();
    assert_eq!(broken(&record), [Rule::Once]);
    record.disturbances.interruptions = interrupted(Some(OTHER), 4, 4);
    assert_eq!(broken(&record), [Rule::Once]);
    record.disturbances.interruptions = interrupted(Some(WORKER), 1, 2);
    assert_eq!(broken(&record), [Rule::Once]);
    record.disturbances.interruptions = interrupted(Some(WORKER), 4, 4);
    assert_eq!(broken(&record), []);
    // All of them were cut off, and still are.
    record.disturbances.interruptions = interrupted(None, 1, 12);
    assert_eq!(broken(&record), []);
}

#[test]
fn an_interruption_justifies_one_more_run_and_no_other() {
    let mut record = again();
    record.disturbances.interruptions = interrupted(Some(WORKER), 4, 4);
    let mut runs = record.runs.of_request(NUMBER).to_vec();
    runs.push(run(NUMBER, 3, WORKER + 9, secs(17)));
    let others = ran((1..=10).filter(|number| *number != NUMBER));
    record.runs = Runs::of(1, others.into_iter().chain(runs));
    assert_eq!(broken(&record), [Rule::Once]);
}

#[test]
fn a_worker_that_was_frozen_may_run_late_what_another_ran_since() {
    let late = vec![run(NUMBER, 2, OTHER, secs(9)), run(NUMBER, 1, WORKER, secs(20))];
    let mut record = with(End::Ok, late);
    assert_eq!(broken(&record), [Rule::Once]);
    record.disturbances.interruptions = interrupted(Some(WORKER), 2, 20);
    assert_eq!(broken(&record), []);
}

#[test]
fn a_delivery_is_tried_again_only_while_the_upstream_is_sick_and_three_times_at_most() {
    let tries = |count: u64| (0..count).map(|at| run(NUMBER, 1, WORKER, secs(3 + at))).collect();
    let mut record = with(End::Ok, tries(3));
    assert_eq!(broken(&record), [Rule::Once]);
    record.disturbances.upstream = vec![during(2, 9)];
    assert_eq!(broken(&record), []);
    let mut record = with(End::Ok, tries(4));
    record.disturbances.upstream = vec![during(2, 9)];
    assert_eq!(broken(&record), [Rule::Once]);
}

#[test]
fn what_is_destroyed_with_its_group_may_run_twice_in_its_first_delivery() {
    for worker in [WORKER, OTHER] {
        let twice = vec![run(NUMBER, 1, WORKER, secs(4)), run(NUMBER, 1, worker, secs(5))];
        let mut record = with(End::Ok, twice);
        record.disturbances.destroyed = vec![secs(2), secs(6)];
        assert_eq!(broken(&record), [Rule::Once]);
        // Both were claimed before it, and begin after it.
        record.disturbances.destroyed = vec![Duration::from_millis(3500)];
        assert_eq!(broken(&record), []);
    }
}

#[test]
fn a_request_that_begins_after_its_time_is_found() {
    let mut record = with(problem(504, "/problems/expired"), Vec::new());
    record.calls[NUMBER as usize - 1].took = BUDGET;
    assert_eq!(broken(&record), []);
    let run_at = |record: &mut Record, at| {
        let others = ran((1..=10).filter(|number| *number != NUMBER));
        record.runs = Runs::of(1, others.into_iter().chain([run(NUMBER, 1, WORKER, at)]));
    };
    run_at(&mut record, secs(3) + BUDGET + secs(1));
    assert_eq!(broken(&record), []);
    run_at(&mut record, secs(3) + BUDGET + secs(3));
    assert_eq!(broken(&record), [Rule::InTime]);
    // It came to the broker when that was back, five seconds after it was sent.
    record.disturbances.uncertain = vec![during(2, 8)];
    assert_eq!(broken(&record), []);
}
