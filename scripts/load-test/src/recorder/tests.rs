//! Counting, timing and judging without a server.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::cities::Cities;
use crate::plan::{Limits, Mode};
use crate::report::Thresholds;

const MILLISECOND: Duration = Duration::from_millis(1);

fn failure(kind: FailureKind, detail: &str) -> Failure {
    Failure::new(kind, detail)
}

fn report(recorder: &mut Recorder, elapsed: Duration) -> Report {
    let plan = Plan {
        target: "http://localhost:5009".parse().unwrap(),
        address: "127.0.0.1:5009".parse().unwrap(),
        mode: Mode::Sequential,
        limits: Limits::default(),
        timeout: Duration::from_secs(30),
        cities: Cities::world(),
        seed: None,
    };
    recorder.report(&plan, OffsetDateTime::UNIX_EPOCH, elapsed)
}

#[test]
fn percentiles_are_those_of_what_was_recorded() {
    let mut recorder = Recorder::new();
    let begin = recorder.begin;
    for latency in 1..=1000 {
        recorder.record(begin, latency * MILLISECOND, None);
    }
    let summary = report(&mut recorder, Duration::from_secs(2)).summary;
    let expected = [1.0, 500.5, 500.0, 750.0, 900.0, 950.0, 990.0, 999.0, 1000.0];
    for ((name, value), expected) in summary.latency_ms.named().into_iter().zip(expected) {
        let value = value.unwrap();
        assert!(
            (value - expected).abs() / expected < 0.002,
            "{name}: {value} for {expected}"
        );
    }
    assert_eq!((summary.requests, summary.succeeded, summary.failed), (1000, 1000, 0));
    assert_eq!((summary.success_rate, summary.throughput_per_second), (1.0, 500.0));
}

#[test]
fn failures_count_by_kind_and_keep_their_first_words() {
    let mut recorder = Recorder::new();
    let begin = recorder.begin;
    recorder.record(begin, MILLISECOND, None);
    recorder.record(begin, MILLISECOND, Some(&failure(FailureKind::Status503, "first")));
    recorder.record(begin, MILLISECOND, Some(&failure(FailureKind::Status503, "second")));
    recorder.record(begin, MILLISECOND, Some(&failure(FailureKind::WrongAnswer, "other")));
    let report = report(&mut recorder, Duration::from_secs(1));
    let errors: Vec<_> = report.summary.errors.into_iter().collect();
    assert_eq!(errors, [("status_503".to_owned(), 2), ("wrong_answer".to_owned(), 1)]);
    assert_eq!(report.examples["status_503"], "first");
    assert_eq!(report.summary.success_rate, 0.25);
}

#[test]
fn a_quick_refusal_does_not_flatter_and_a_timeout_is_not_hidden() {
    let mut recorder = Recorder::new();
    let begin = recorder.begin;
    recorder.record(begin, 100 * MILLISECOND, None);
    recorder.record(begin, MILLISECOND, Some(&failure(FailureKind::Status503, "")));
    recorder.record(begin, 2000 * MILLISECOND, Some(&failure(FailureKind::Timeout, "")));
    let latency = report(&mut recorder, Duration::from_secs(1)).summary.latency_ms;
    assert!(latency.min.unwrap() >= 99.0, "{latency:?}");
    assert!(latency.max.unwrap() >= 2000.0, "{latency:?}");
}

#[test]
fn every_second_is_there_also_the_silent_ones() {
    let mut recorder = Recorder::new();
    let at = |seconds: f64| recorder.begin + Duration::from_secs_f64(seconds);
    let (first, late) = (at(0.5), at(3.2));
    recorder.record(first, 10 * MILLISECOND, None);
    recorder.record(late, 20 * MILLISECOND, Some(&failure(FailureKind::Reset, "")));
    let seconds = report(&mut recorder, Duration::from_secs(4)).summary.seconds;
    let counts: Vec<_> = seconds
        .iter()
        .map(|second| (second.second, second.requests, second.failed))
        .collect();
    assert_eq!(counts, [(0, 1, 0), (1, 0, 0), (2, 0, 0), (3, 1, 1)]);
    assert!(seconds[0].p50_ms.unwrap() >= 10.0);
    assert_eq!((seconds[1].p50_ms, seconds[3].p99_ms), (None, None));
}

#[test]
fn live_figures_are_those_of_the_last_full_second() {
    let mut recorder = Recorder::new();
    let begin = recorder.begin;
    for _ in 0..5 {
        recorder.record(begin, 10 * MILLISECOND, None);
    }
    let live = recorder.live(begin + 1500 * MILLISECOND);
    assert_eq!((live.requests, live.rate), (5, 5));
    assert!(live.p99_ms.unwrap() >= 10.0);
    // Nothing for a second is a rate of nothing, also before the next answer comes.
    let live = recorder.live(begin + 2500 * MILLISECOND);
    assert_eq!((live.requests, live.rate, live.p50_ms), (5, 0, None));
}

#[test]
fn without_a_request_nothing_is_claimed() {
    let report = report(&mut Recorder::new(), Duration::ZERO);
    assert_eq!(report.summary.latency_ms, Latency::default());
    assert_eq!(
        (report.summary.success_rate, report.summary.throughput_per_second),
        (0.0, 0.0)
    );
    assert!(report.curve.is_empty());
    let thresholds = Thresholds {
        min_success: Some(0.5),
        max_p99: Some(MILLISECOND),
    };
    let missed = thresholds.missed(&report.summary);
    assert_eq!((missed.len(), missed[0].as_str()), (3, "nothing was asked"));
}

#[test]
fn a_missed_threshold_says_by_how_much() {
    let mut recorder = Recorder::new();
    let begin = recorder.begin;
    recorder.record(begin, 75 * MILLISECOND, None);
    recorder.record(begin, MILLISECOND, Some(&failure(FailureKind::Reset, "")));
    let summary = report(&mut recorder, Duration::from_secs(1)).summary;
    let thresholds = |min_success, max_p99| Thresholds {
        min_success: Some(min_success),
        max_p99: Some(max_p99 * MILLISECOND),
    };
    assert_eq!(thresholds(0.5, 76).missed(&summary), [""; 0]);
    let missed = thresholds(0.99, 50).missed(&summary);
    assert_eq!(
        missed[0],
        "--min-success 0.99 missed by 0.4900: success rate was 0.5000"
    );
    assert!(missed[1].starts_with("--max-p99 50ms missed by 25.0"), "{}", missed[1]);
}

#[test]
fn the_curve_ends_where_the_requests_no_longer_tell_quantiles_apart() {
    let mut recorder = Recorder::new();
    let begin = recorder.begin;
    for latency in 1..=100 {
        recorder.record(begin, latency * MILLISECOND, None);
    }
    let curve = report(&mut recorder, Duration::from_secs(1)).curve;
    assert_eq!(curve.first().unwrap().0, 0.0);
    assert!((curve.last().unwrap().0 - 0.99).abs() < 1e-9);
    assert!(curve.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
}
