//! What a sample decides, and what it does not.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use roundtrip::broker::Depth;
use roundtrip::service::health::Sample;
use tokio::time::Instant;

use super::{TICK, TIMEOUT, admission, secs};
use crate::admission::estimator::Estimator;
use crate::admission::{Admission, Follower, Refusal, SAMPLE_LIFETIME};

/// A busy second in five samples, as an estimator sees it; returns the last rate.
fn busy_second(estimator: &mut Estimator, now: &mut Instant, completed: &mut u64, per_sample: u64) -> Option<f64> {
    let mut rate = None;
    for _ in 0..5 {
        *now += Duration::from_millis(200);
        *completed += per_sample;
        let depth = Depth {
            waiting: 5,
            completed: Some(*completed),
            ..Depth::default()
        };
        rate = estimator.observe(*now, &depth, 0);
    }
    rate
}

#[test]
fn a_stream_that_begins_anew_is_measured_anew() {
    let (mut estimator, mut now, mut completed) = (Estimator::default(), Instant::now(), 1_000_000);
    busy_second(&mut estimator, &mut now, &mut completed, 10);
    assert_eq!(busy_second(&mut estimator, &mut now, &mut completed, 10), Some(50.0));
    completed = 0;
    assert_eq!(busy_second(&mut estimator, &mut now, &mut completed, 20), None);
    assert_eq!(busy_second(&mut estimator, &mut now, &mut completed, 20), Some(100.0));
}

#[test]
fn a_few_completions_say_nothing() {
    let (mut estimator, mut now, mut completed) = (Estimator::default(), Instant::now(), 0);
    assert_eq!(busy_second(&mut estimator, &mut now, &mut completed, 1), None);
    assert_eq!(busy_second(&mut estimator, &mut now, &mut completed, 1), None);
    assert_eq!(busy_second(&mut estimator, &mut now, &mut completed, 1), Some(5.0));
}

/// An admission whose last sample refuses everybody.
fn refusing(now: Instant) -> (Admission, Sample) {
    let admission = admission(TIMEOUT, None);
    let depth = Depth {
        waiting: 100,
        ..Depth::default()
    };
    let sample = Sample {
        response_time: Some(TICK),
        depth,
        taken: Some(now),
    };
    assert_eq!(admission.learn(&sample, Some(10.0), 1.0), Some(secs(10)));
    assert!(admission.admit(now, TIMEOUT).is_err());
    (admission, sample)
}

#[test]
fn a_sample_that_is_old_refuses_nobody() {
    let now = Instant::now();
    let (admission, _) = refusing(now);
    assert!(admission.admit(now + SAMPLE_LIFETIME - TICK, TIMEOUT).is_err());
    assert!(admission.admit(now + SAMPLE_LIFETIME + TICK, TIMEOUT).is_ok());
}

#[test]
fn a_broker_that_is_away_refuses_by_itself() {
    let now = Instant::now();
    let (admission, _) = refusing(now);
    admission.learn(&Sample::default(), None, 1.0);
    assert!(admission.admit(now, TIMEOUT).is_ok());
}

#[test]
fn between_samples_time_and_admissions_count() {
    let now = Instant::now();
    let (admission, mut sample) = refusing(now);
    sample.depth.waiting = 14;
    admission.learn(&sample, Some(10.0), 1.0);
    // 1.4 s wait, and each that is let in makes it a tenth of a second more.
    let admitted = (0..10).filter(|_| admission.admit(now, TIMEOUT).is_ok()).count();
    assert_eq!(admitted, 2);
    let later = now + Duration::from_millis(250);
    let admitted = (0..10).filter(|_| admission.admit(later, TIMEOUT).is_ok()).count();
    assert_eq!(admitted, 2);
    assert!(
        admission.admit(later, TIMEOUT * 2).is_ok(),
        "who has more time may wait longer"
    );
}

#[test]
fn the_turnover_of_those_in_flight_is_measured() {
    let (admission, now) = (admission(TIMEOUT, None), Instant::now());
    let mut follower = Follower::new(&admission, now);
    assert_eq!(admission.in_flight_is_full(), Refusal::InFlight(None));
    // 100 places, 125 a second leave.
    admission.admitted.store(350, Relaxed);
    follower.take(&Sample::default(), 100, now + secs(2));
    assert_eq!(
        admission.in_flight_is_full(),
        Refusal::InFlight(Some(Duration::from_millis(800)))
    );
    follower.take(&Sample::default(), 99, now + secs(4));
    assert_eq!(admission.in_flight_is_full(), Refusal::InFlight(Some(TIMEOUT)));
}
