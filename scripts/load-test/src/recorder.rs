//! Counts and times what happens. Failures never flatter: a latency counts where the answer was right, and where
//! there was none in time, with the time that was waited; a quick refusal has none.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use time::OffsetDateTime;

use crate::failure::{Failure, FailureKind};
use crate::plan::{MAX_TIMEOUT, Plan};
use crate::report::{Latency, Report, Second, Summary, curve, milliseconds, rounded};

const KINDS: usize = FailureKind::ALL.len();

/// A histogram of microseconds, 1 µs to 60 s with three significant digits.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, MAX_TIMEOUT.as_micros() as u64, 3).expect("the bounds are valid")
}

/// What a run has recorded so far. Clones share it.
#[derive(Debug, Clone)]
pub struct Recording(Arc<Mutex<Recorder>>);

/// How a run goes at a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Live {
    /// Since the start of the run.
    pub elapsed: Duration,
    /// Requests that ended.
    pub requests: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Requests that ended in the last full second; in the first one, so far.
    pub rate: u64,
    /// Median latency in the last full second, in ms, where anything was measured.
    pub p50_ms: Option<f64>,
    /// 99th percentile in the last full second, in ms, where anything was measured.
    pub p99_ms: Option<f64>,
}

impl Recording {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Recorder::new())))
    }

    pub(crate) fn begin(&self, begin: Instant) {
        self.lock().begin = begin;
    }

    /// Records a request that ended at `end`.
    pub(crate) fn record(&self, end: Instant, latency: Duration, failure: Option<&Failure>) {
        self.lock().record(end, latency, failure);
    }

    /// How the run goes now.
    #[must_use]
    pub fn live(&self) -> Live {
        self.lock().live(Instant::now())
    }

    pub(crate) fn report(&self, plan: &Plan, started: OffsetDateTime, elapsed: Duration) -> Report {
        self.lock().report(plan, started, elapsed)
    }

    fn lock(&self) -> MutexGuard<'_, Recorder> {
        self.0.lock().expect("nothing panics while it records")
    }
}

#[derive(Debug)]
struct Recorder {
    begin: Instant,
    latencies: Histogram<u64>,
    requests: u64,
    failures: [u64; KINDS],
    /// The first failure of each kind, in words.
    examples: [Option<String>; KINDS],
    seconds: Vec<Second>,
    current: Window,
}

/// The second under way: as many are over as `Recorder::seconds` has.
#[derive(Debug)]
struct Window {
    latencies: Histogram<u64>,
    requests: u64,
    failed: u64,
}

impl Recorder {
    fn new() -> Self {
        Self {
            begin: Instant::now(),
            latencies: histogram(),
            requests: 0,
            failures: [0; KINDS],
            examples: [const { None }; KINDS],
            seconds: Vec::new(),
            current: Window {
                latencies: histogram(),
                requests: 0,
                failed: 0,
            },
        }
    }

    fn record(&mut self, end: Instant, latency: Duration, failure: Option<&Failure>) {
        self.roll_to(end);
        self.requests += 1;
        self.current.requests += 1;
        if failure.is_none_or(|failure| failure.kind == FailureKind::Timeout) {
            let microseconds = latency.as_micros() as u64;
            self.latencies.saturating_record(microseconds);
            self.current.latencies.saturating_record(microseconds);
        }
        if let Some(failure) = failure {
            let kind = failure.kind as usize;
            self.current.failed += 1;
            self.failures[kind] += 1;
            self.examples[kind].get_or_insert_with(|| failure.detail.clone());
        }
    }

    /// Closes the seconds that are over at `now`.
    fn roll_to(&mut self, now: Instant) {
        let second = now.saturating_duration_since(self.begin).as_secs();
        while (self.seconds.len() as u64) < second {
            let ended = self.current.take(self.seconds.len() as u64);
            self.seconds.push(ended);
        }
    }

    fn failed(&self) -> u64 {
        self.failures.iter().sum()
    }

    fn live(&mut self, now: Instant) -> Live {
        self.roll_to(now);
        // Before the first second is over, what there is of it.
        let last = self.seconds.last().copied();
        let last = last.unwrap_or_else(|| self.current.so_far(0));
        Live {
            elapsed: now.saturating_duration_since(self.begin),
            requests: self.requests,
            failed: self.failed(),
            rate: last.requests,
            p50_ms: last.p50_ms,
            p99_ms: last.p99_ms,
        }
    }

    fn report(&mut self, plan: &Plan, started: OffsetDateTime, elapsed: Duration) -> Report {
        if self.current.requests > 0 {
            let last = self.current.take(self.seconds.len() as u64);
            self.seconds.push(last);
        }
        let failed = self.failed();
        let succeeded = self.requests - failed;
        let counts = FailureKind::ALL.into_iter().zip(self.failures);
        let examples = FailureKind::ALL.into_iter().zip(&self.examples);
        let summary = Summary {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            mode: plan.mode.name().to_owned(),
            url: plan.target.url().to_owned(),
            connections: plan.mode.connections(),
            rate: plan.mode.rate(),
            duration_seconds: rounded(elapsed.as_secs_f64()),
            requests: self.requests,
            succeeded,
            failed,
            success_rate: succeeded as f64 / self.requests.max(1) as f64,
            throughput_per_second: rounded(succeeded as f64 / elapsed.as_secs_f64().max(1e-6)),
            latency_ms: Latency::of(&self.latencies),
            errors: counts
                .filter(|(_, count)| *count > 0)
                .map(|(kind, count)| (kind.name().to_owned(), count))
                .collect(),
            seconds: self.seconds.clone(),
        };
        Report {
            summary,
            curve: curve(&self.latencies),
            examples: examples
                .filter_map(|(kind, example)| Some((kind.name().to_owned(), example.clone()?)))
                .collect(),
            given_up: None,
            started,
            limits: plan.limits,
            timeout: plan.timeout,
            places: plan.cities.places().len(),
            seed: plan.seed,
        }
    }
}

impl Window {
    fn so_far(&self, second: u64) -> Second {
        let quantile = |quantile| (!self.latencies.is_empty()).then(|| milliseconds(&self.latencies, quantile));
        Second {
            second,
            requests: self.requests,
            failed: self.failed,
            p50_ms: quantile(0.5),
            p99_ms: quantile(0.99),
        }
    }

    fn take(&mut self, second: u64) -> Second {
        let ended = self.so_far(second);
        // Clearing it is not free: it has a counter for each latency it tells apart.
        if !self.latencies.is_empty() {
            self.latencies.reset();
        }
        (self.requests, self.failed) = (0, 0);
        ended
    }
}

#[cfg(test)]
mod tests;
