//! What a sample decides, and what it does not.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use roundtrip::broker::{Depth, Memory};
use roundtrip::observe::health::Sample;
use tokio::time::Instant;

use super::{TICK, TIMEOUT, admission, caller, secs};
use crate::admission::estimator::Estimator;
use crate::admission::{Admission, Follower, Rejection, SAMPLE_LIFETIME};

/// What an estimator gets to see.
struct Seen {
    estimator: Estimator,
    now: Instant,
    completed: u64,
    discarded: u64,
}

impl Seen {
    fn new() -> Self {
        Self {
            estimator: Estimator::default(),
            now: Instant::now(),
            completed: 1_000_000,
            discarded: 0,
        }
    }

    /// Some seconds of five samples each, with as many completions a sample; the last rate.
    fn seconds(&mut self, seconds: u32, waiting: u64, per_sample: u64) -> Option<f64> {
        (0..seconds * 5).fold(None, |_, _| self.once(waiting, per_sample))
    }

    fn once(&mut self, waiting: u64, completed: u64) -> Option<f64> {
        self.now += Duration::from_millis(200);
        self.completed += completed;
        let depth = Depth {
            waiting,
            completed: Some(self.completed),
            discarded: self.discarded,
            ..Depth::default()
        };
        self.estimator.observe(self.now, &depth, 0)
    }
}

#[test]
fn a_stream_that_begins_anew_is_measured_anew() {
    let mut seen = Seen::new();
    assert_eq!(seen.seconds(2, 5, 10), Some(50.0));
    seen.completed = 0;
    assert_eq!(seen.seconds(1, 5, 20), None);
    assert_eq!(seen.seconds(1, 5, 20), Some(100.0));
}

#[test]
fn another_rate_is_known_within_three_seconds() {
    let mut seen = Seen::new();
    assert_eq!(seen.seconds(20, 5, 200), Some(1000.0));
    assert!(seen.seconds(3, 5, 20).unwrap() < 110.0);
    assert!(seen.seconds(3, 5, 200).unwrap() > 990.0);
}

#[test]
fn a_standstill_is_no_part_of_the_rate_after_it() {
    let mut seen = Seen::new();
    seen.seconds(5, 5, 10);
    assert_eq!(seen.seconds(60, 5, 0), None);
    assert_eq!(seen.seconds(2, 5, 10), Some(50.0));
}

#[test]
fn a_rate_is_remembered_for_a_while_and_raised_by_what_is_done_without_a_queue() {
    let mut seen = Seen::new();
    seen.seconds(5, 5, 10);
    assert_eq!(seen.seconds(1, 0, 2), Some(50.0));
    assert_eq!(seen.seconds(1, 0, 30), Some(150.0));
    assert_eq!(seen.seconds(5, 0, 2), None);
}

#[test]
fn what_is_cancelled_is_no_capacity() {
    let mut seen = Seen::new();
    assert_eq!(seen.seconds(5, 1000, 10), Some(50.0));
    // Somebody ends a hundred that wait, five times a second.
    for _ in 0..15 {
        seen.discarded += 100;
        seen.completed += 100;
        seen.once(1000, 10);
    }
    assert_eq!(seen.seconds(1, 1000, 10), Some(50.0));
    // A counter that was lost begins anew, and takes nothing from what is done.
    seen.discarded = 0;
    assert_eq!(seen.seconds(1, 1000, 10), Some(50.0));
}

#[test]
fn a_few_completions_say_nothing() {
    let mut seen = Seen::new();
    assert_eq!(seen.seconds(2, 5, 1), None);
    assert_eq!(seen.seconds(1, 5, 1), Some(5.0));
}

/// An admission whose last sample refuses everybody.
fn refusing(now: Instant) -> (Admission, Sample) {
    let admission = admission(TIMEOUT, None);
    let depth = Depth {
        waiting: 100,
        ..Depth::default()
    };
    let sample = Sample {
        depth,
        taken: Some(now),
    };
    assert_eq!(admission.learn(&sample, Some(10.0), 1.0), Some(secs(10)));
    assert!(admission.admit(now, caller(TIMEOUT)).is_err());
    (admission, sample)
}

#[test]
fn a_sample_that_is_old_refuses_nobody() {
    let now = Instant::now();
    let (admission, _) = refusing(now);
    assert!(admission.admit(now + SAMPLE_LIFETIME - TICK, caller(TIMEOUT)).is_err());
    assert!(admission.admit(now + SAMPLE_LIFETIME + TICK, caller(TIMEOUT)).is_ok());
}

#[test]
fn a_broker_that_is_away_refuses_by_itself() {
    let now = Instant::now();
    let (admission, _) = refusing(now);
    admission.learn(&Sample::default(), None, 1.0);
    assert!(admission.admit(now, caller(TIMEOUT)).is_ok());
}

#[test]
fn between_samples_time_and_admissions_count() {
    let now = Instant::now();
    let (admission, mut sample) = refusing(now);
    sample.depth.waiting = 14;
    admission.learn(&sample, Some(10.0), 1.0);
    // 1.4 s wait, and each that is let in makes it a tenth of a second more.
    let admitted = (0..10)
        .filter(|_| admission.admit(now, caller(TIMEOUT)).is_ok())
        .count();
    assert_eq!(admitted, 2);
    let later = now + Duration::from_millis(250);
    let admitted = (0..10)
        .filter(|_| admission.admit(later, caller(TIMEOUT)).is_ok())
        .count();
    assert_eq!(admitted, 2);
    assert!(
        admission.admit(later, caller(TIMEOUT * 2)).is_ok(),
        "who has more time may wait longer"
    );
}

#[test]
fn who_turned_out_to_add_nothing_is_taken_off_again() {
    let now = Instant::now();
    let (admission, mut sample) = refusing(now);
    sample.depth.waiting = 13;
    admission.learn(&sample, Some(10.0), 1.0);
    let before = admission.predicted_wait(now);
    assert!(before.is_some());
    for _ in 0..100 {
        assert!(admission.admit(now, caller(TIMEOUT)).is_ok());
        admission.withdraw(caller(TIMEOUT));
    }
    assert_eq!(admission.predicted_wait(now), before);
    assert_eq!(admission.let_in(), 0);
}

#[test]
fn the_turnover_of_those_in_flight_is_measured() {
    let (admission, now) = (admission(TIMEOUT, None), Instant::now());
    let mut follower = Follower::new(&admission, now);
    assert_eq!(admission.in_flight_is_full(), Rejection::InFlight(None));
    // 100 places, 125 a second leave.
    admission.admitted.store(350, Relaxed);
    follower.take(&Sample::default(), 100, now + secs(2));
    assert_eq!(
        admission.in_flight_is_full(),
        Rejection::InFlight(Some(Duration::from_millis(800)))
    );
    follower.take(&Sample::default(), 99, now + secs(4));
    assert_eq!(admission.in_flight_is_full(), Rejection::InFlight(Some(TIMEOUT)));
}

#[test]
fn a_broker_with_little_memory_left_keeps_it_for_what_was_accepted() {
    let (admission, now) = (admission(TIMEOUT, None), Instant::now());
    let mut follower = Follower::new(&admission, now);
    for (used, max, refused) in [
        (89, 100, false),
        (90, 100, true),
        (90, 0, false),
        (1 << 40, 1 << 40, true),
        (1, 100, false),
    ] {
        let depth = Depth {
            memory: Some(Memory {
                used,
                max,
                evicts: false,
            }),
            ..Depth::default()
        };
        let sample = Sample {
            depth,
            taken: Some(now),
        };
        follower.take(&sample, 0, now);
        let refusal = admission.admit(now, caller(TIMEOUT)).err();
        assert_eq!(refusal, refused.then_some(Rejection::Memory), "{used} of {max}");
    }
}
