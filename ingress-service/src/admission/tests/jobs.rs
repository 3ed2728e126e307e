//! Those who do not wait take their share of the queue, and leave the rest to those who do.

use std::time::Duration;

use roundtrip::broker::Depth;
use roundtrip::observe::health::Sample;
use tokio::time::Instant;

use super::world::World;
use super::{JOBS, TICK, TIMEOUT, admission, caller, job, secs};
use crate::admission::{Admission, Entrant, Rejection, SAMPLE_LIFETIME};

/// 16 terminals, 20 ms a job: 800 a second.
const TERMINALS: usize = 16;
const WORK: Duration = Duration::from_millis(20);
const CAPACITY: f64 = 800.0;

#[test]
fn a_flood_of_jobs_costs_those_who_wait_nothing_but_time() {
    let admissions: [_; 3] = std::array::from_fn(|_| admission(TIMEOUT, None));
    let mut world = World::new(&admissions, TERMINALS, WORK);
    assert_eq!(world.run(secs(5), CAPACITY * 0.3).refused, 0);
    world.jobs = CAPACITY * 5.0;
    let callers = world.run(secs(30), CAPACITY * 0.3);
    assert_eq!((callers.refused, callers.expired), (0, 0), "{callers:?}");
    assert!(world.longest_wait < TIMEOUT * 3 / 4, "{:?}", world.longest_wait);
    assert!(world.job_count.refused > 0);
    let served = world.job_count.served + callers.served;
    assert!(served as f64 > CAPACITY * 30.0 * 0.95, "{:?}", world.job_count);
}

#[test]
fn a_burst_of_jobs_while_nothing_is_known_leaves_room() {
    let admissions = [admission(TIMEOUT, None)];
    let mut world = World::new(&admissions, TERMINALS, WORK);
    world.run(secs(10), 20.0);
    world.jobs = 3_000_000.0;
    world.run(TICK, 0.0);
    world.jobs = 0.0;
    // Once by an idle service; what is worked off meanwhile makes room for some more.
    let admitted = world.job_count.admitted;
    assert!((240..=330).contains(&admitted), "{:?}", world.job_count);
    assert!(
        matches!(world.refusal, Some(Rejection::QueueLength { .. })),
        "{:?}",
        world.refusal
    );
    let callers = world.run(secs(5), 100.0);
    assert_eq!((callers.refused, callers.expired), (0, 0), "{callers:?}");
}

#[test]
fn a_burst_of_jobs_to_few_and_slow_workers_leaves_room() {
    // 4 terminals, 200 ms a job: 20 a second. Callers have 30 s.
    let admissions = [admission(secs(30), None)];
    let mut world = World::new(&admissions, 4, Duration::from_millis(200));
    world.run(secs(3), 1.0);
    world.jobs = 2_000.0;
    world.run(secs(2), 0.0);
    world.jobs = 0.0;
    let callers = world.run(secs(20), 5.0);
    assert_eq!(
        (callers.refused, callers.expired),
        (0, 0),
        "{callers:?} {:?}",
        world.refusal
    );
    assert!(world.longest_wait < secs(22), "{:?}", world.longest_wait);
}

#[test]
fn where_nobody_works_jobs_may_wait_for_workers_to_come() {
    let (admission, now) = seen(waiting(JOBS.queued - 1), None, 0.5);
    assert!(admission.admit(now, job()).is_ok());
    let at_work = Depth {
        claimed: 20,
        ..waiting(79)
    };
    let (admission, now) = seen(at_work, None, 0.5);
    assert!(admission.admit(now, job()).is_ok());
    assert!(matches!(
        admission.admit(now, job()),
        Err(Rejection::QueueLength { most: 80, .. })
    ));
}

#[test]
fn without_those_who_wait_jobs_keep_the_workers_busy() {
    let admissions = [admission(TIMEOUT, None)];
    let mut world = World::new(&admissions, TERMINALS, WORK);
    world.jobs = CAPACITY * 3.0;
    world.run(secs(30), 0.0);
    assert!(
        world.job_count.served as f64 > CAPACITY * 30.0 * 0.97,
        "{:?}",
        world.job_count
    );
    assert_eq!(world.job_count.expired, 0);
}

#[test]
fn where_nothing_waits_neither_callers_nor_jobs_keep_jobs_out() {
    let admissions = [admission(TIMEOUT, None)];
    let mut world = World::new(&admissions, TERMINALS * 10, WORK / 10);
    let callers = world.run(secs(2), CAPACITY * 10.0);
    assert_eq!(callers.refused, 0);
    // More in the time of a sample than may wait; after a moment it is known that none of them does.
    world.jobs = CAPACITY * 8.0;
    world.run(secs(2), CAPACITY * 10.0);
    world.job_count = super::world::Count::default();
    let callers = world.run(secs(5), CAPACITY * 10.0);
    assert_eq!(
        (world.job_count.refused, callers.refused),
        (0, 0),
        "{:?}",
        world.refusal
    );
}

/// An admission that has seen this depth, and a rate.
fn seen(depth: Depth, rate: Option<f64>, share: f64) -> (Admission, Instant) {
    let (mut admission, now) = (admission(TIMEOUT, None), Instant::now());
    admission.limits.jobs.share = share;
    let sample = Sample {
        depth,
        taken: Some(now),
    };
    admission.learn(&sample, rate, 1.0);
    admission.room.learn(admission.nanos(now), &depth, 0.0, 1.0);
    (admission, now)
}

fn waiting(waiting: u64) -> Depth {
    Depth {
        waiting,
        ..Depth::default()
    }
}

#[test]
fn a_predicted_wait_of_their_share_refuses_jobs_and_nobody_else() {
    // 2 s a request, so 1.5 s at most; half of that for jobs.
    let (admission, now) = seen(waiting(80), Some(100.0), 0.5);
    assert!(matches!(
        admission.admit(now, job()),
        Err(Rejection::QueueShare { wait, longest })
            if wait == Duration::from_millis(800) && longest == Duration::from_millis(750)
    ));
    assert!(admission.admit(now, caller(TIMEOUT)).is_ok());
    assert!(admission.admit(now + Duration::from_millis(100), job()).is_ok());
    let (admission, now) = seen(waiting(80), Some(100.0), 0.6);
    assert!(admission.admit(now, job()).is_ok());
}

#[test]
fn a_job_with_less_time_than_its_share_is_refused_for_that() {
    let (admission, now) = seen(waiting(50), Some(100.0), 0.5);
    let short = Entrant {
        budget: TIMEOUT / 4,
        ..job()
    };
    assert!(matches!(admission.admit(now, short), Err(Rejection::QueueWait { .. })));
}

#[test]
fn with_the_whole_share_only_its_own_time_limits_a_jobs_wait() {
    let (admission, now) = seen(waiting(100_000), Some(100.0), 1.0);
    assert!(admission.admit(now, job()).is_ok());
    assert!(admission.admit(now, caller(TIMEOUT)).is_err());
}

#[test]
fn their_number_counts_while_the_wait_is_not_known() {
    let (admission, now) = seen(waiting(JOBS.queued - 2), None, 0.5);
    // Jobs that came since count. Of the others nobody knows whether they still wait.
    assert!(admission.admit(now, caller(TIMEOUT)).is_ok());
    assert!(admission.admit(now, job()).is_ok());
    assert!(admission.admit(now, job()).is_ok());
    assert!(matches!(
        admission.admit(now, job()),
        Err(Rejection::QueueLength { waiting, most }) if waiting == most
    ));
    assert!(admission.admit(now, caller(TIMEOUT)).is_ok());
    assert!(
        admission.admit(now + SAMPLE_LIFETIME + TICK, job()).is_ok(),
        "an old sample refuses nobody"
    );
    let (admission, now) = seen(waiting(JOBS.queued * 2), Some(10_000.0), 0.5);
    assert!(admission.admit(now, job()).is_ok(), "they are worked off in no time");
}

#[test]
fn their_bytes_count_always() {
    let large = Entrant {
        bytes: JOBS.bytes / 2,
        ..job()
    };
    for rate in [None, Some(10_000.0)] {
        let (admission, now) = seen(waiting(1), rate, 1.0);
        let admitted = (0..5).filter(|_| admission.admit(now, large).is_ok()).count();
        assert_eq!(admitted, 2, "{rate:?}");
        assert!(matches!(admission.admit(now, large), Err(Rejection::QueueBytes { .. })));
        admission.withdraw(large);
        assert!(admission.admit(now, large).is_ok());
        let waits = Entrant { is_job: false, ..large };
        assert!(admission.admit(now, waits).is_ok());
        let full = Depth {
            bytes: JOBS.bytes,
            ..waiting(1)
        };
        let (admission, now) = seen(full, rate, 0.5);
        assert!(matches!(admission.admit(now, job()), Err(Rejection::QueueBytes { .. })));
    }
}
