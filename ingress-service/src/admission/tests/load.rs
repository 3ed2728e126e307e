//! What becomes of requests under load.

use std::time::Duration;

use super::world::World;
use super::{TICK, TIMEOUT, admission, secs};
use crate::admission::Rejection;

/// 16 terminals, 20 ms a job: 800 a second.
const TERMINALS: usize = 16;
const JOB: Duration = Duration::from_millis(20);
const CAPACITY: f64 = 800.0;

#[test]
fn a_burst_after_idle_time_is_not_refused() {
    let admissions = [admission(TIMEOUT, None)];
    let mut world = World::new(&admissions, TERMINALS, JOB);
    world.run(secs(30), 20.0);
    let burst = world.run(TICK, 1_000_000.0);
    assert_eq!((burst.admitted, burst.refused), (1000, 0));
    let rest = world.run(secs(3), 20.0);
    assert_eq!((rest.refused, rest.expired), (0, 0));
}

#[test]
fn overload_is_refused_at_three_quarters_of_the_budget_and_costs_no_goodput() {
    let admissions = [admission(TIMEOUT, None)];
    let mut world = World::new(&admissions, TERMINALS, JOB);
    let all = world.run(secs(30), CAPACITY * 3.0);
    assert_eq!(all.expired, 0);
    assert!(all.served as f64 > CAPACITY * 30.0 * 0.97, "{all:?}");
    let wait = world.longest_wait;
    assert!(wait > TIMEOUT * 7 / 10 && wait < TIMEOUT * 9 / 10, "{wait:?}");
    assert!(
        matches!(world.refusal, Some(Rejection::QueueWait { wait, longest })
            if longest == TIMEOUT * 3 / 4 && wait > longest && wait < TIMEOUT),
        "{:?}",
        world.refusal
    );
}

#[test]
fn when_the_overload_ends_so_do_the_refusals() {
    let admissions = [admission(TIMEOUT, None)];
    let mut world = World::new(&admissions, TERMINALS, JOB);
    assert!(world.run(secs(20), CAPACITY * 3.0).refused > 0);
    let after = world.run(secs(5), CAPACITY / 2.0);
    assert!(after.refused <= 1, "{after:?}");
    assert_eq!((world.queue.len(), after.expired), (0, 0));
}

#[test]
fn an_operators_limit_keeps_the_queue_below_it_without_emptying_it() {
    let admissions = [admission(TIMEOUT, Some(secs(1)))];
    let mut world = World::new(&admissions, TERMINALS, JOB);
    let all = world.run(secs(30), CAPACITY * 3.0);
    assert!(world.longest_wait < secs(1), "{:?}", world.longest_wait);
    assert!(all.served as f64 > CAPACITY * 30.0 * 0.97, "{all:?}");
}

#[test]
fn long_jobs_that_end_together_are_no_standstill() {
    // 16 each 3 s: a hundred take 19 s, which is less than three quarters of 30.
    let admissions = [admission(secs(30), None)];
    let mut world = World::new(&admissions, TERMINALS, secs(3));
    assert_eq!(world.run(TICK, 100_000.0).refused, 0);
    let rest = world.run(secs(25), 1.0);
    assert_eq!((rest.refused, rest.expired), (0, 0));
    // And what is too much is still refused.
    let more = world.run(secs(60), 20.0);
    assert!(more.refused > 0 && more.expired == 0, "{more:?}");
}

/// Workers become eight times as slow, so that most of what they were let in for expires.
fn workers_become_slow(world: &mut World) {
    world.run(secs(20), CAPACITY * 3.0);
    world.job = JOB * 8;
    world.run(secs(6), CAPACITY * 3.0);
    let slow = world.run(secs(10), CAPACITY * 3.0);
    assert!(slow.served as f64 > CAPACITY / 8.0 * 10.0 * 0.9, "{slow:?}");
    assert!(slow.expired < slow.served / 20, "{slow:?}");
}

#[test]
fn workers_that_become_slow_are_noticed_in_seconds() {
    let admissions = [admission(TIMEOUT, None)];
    workers_become_slow(&mut World::new(&admissions, TERMINALS, JOB));
}

#[test]
fn where_nobody_says_what_is_discarded_the_callers_know_it() {
    let admissions = [admission(TIMEOUT, None)];
    let mut world = World::new(&admissions, TERMINALS, JOB);
    world.counts_discarded = false;
    workers_become_slow(&mut world);
}

#[test]
fn expired_jobs_that_nobody_waits_for_are_no_capacity() {
    let admissions = [admission(TIMEOUT, None)];
    let mut world = World::new(&admissions, TERMINALS, JOB);
    world.is_waited_for = false;
    workers_become_slow(&mut world);
}

#[test]
fn where_completions_are_not_counted_age_decides() {
    let admissions = [admission(TIMEOUT, None)];
    let mut world = World::new(&admissions, 1, secs(60));
    world.counts_completed = false;
    assert_eq!(world.run(Duration::from_millis(900), 100.0).refused, 0);
    world.run(Duration::from_millis(400), 100.0);
    let old = world.run(Duration::from_millis(100), 100.0);
    assert_eq!((old.admitted, old.refused), (0, 10));
    assert!(matches!(world.refusal, Some(Rejection::QueueAge(age)) if age > TIMEOUT / 2 && age < TIMEOUT));
}

#[test]
fn workers_that_come_back_after_a_minute_find_callers_let_in_within_seconds() {
    let admissions = [admission(TIMEOUT, None)];
    let mut world = World::new(&admissions, TERMINALS, JOB);
    world.run(secs(10), CAPACITY * 3.0);
    world.terminals.clear();
    world.run(secs(20), CAPACITY);
    let dead = world.run(secs(40), CAPACITY);
    assert_eq!(dead.admitted, 0, "{dead:?}");
    assert!(
        matches!(world.refusal, Some(Rejection::QueueAge(_))),
        "{:?}",
        world.refusal
    );
    world.terminals = vec![None; TERMINALS];
    world.run(secs(1), CAPACITY * 3.0);
    let back = world.run(secs(10), CAPACITY * 3.0);
    assert!(back.served as f64 > CAPACITY * 10.0 * 0.97, "{back:?}");
    assert!(back.expired < 50, "{back:?}");
}

#[test]
fn ingresses_that_share_a_queue_do_not_overfill_it_together() {
    let admissions: [_; 8] = std::array::from_fn(|_| admission(TIMEOUT, None));
    let mut world = World::new(&admissions, TERMINALS, JOB);
    world.run(secs(15), CAPACITY * 10.0);
    world.longest_wait = Duration::ZERO;
    let all = world.run(secs(30), CAPACITY * 10.0);
    assert_eq!(all.expired, 0);
    assert!(all.served as f64 > CAPACITY * 30.0 * 0.97, "{all:?}");
    assert!(world.longest_wait < TIMEOUT * 9 / 10, "{:?}", world.longest_wait);
}
