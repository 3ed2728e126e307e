//! What a run found: [`Summary`] is what tools read as JSON, [`Report`] adds what people want to see.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use time::OffsetDateTime;

use crate::plan::Limits;

/// The figures of a run. Its JSON is relied on by other tools: fields are added, never changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The version of the load test.
    pub version: String,
    /// `sequential`, `concurrent` or `open`.
    pub mode: String,
    /// The service, without a slash at the end.
    pub url: String,
    /// Connections at most.
    pub connections: usize,
    /// Requests a second as planned; null where the mode sets none.
    pub rate: Option<f64>,
    /// From the first start to the last answer, in s.
    pub duration_seconds: f64,
    /// Requests that ended.
    pub requests: u64,
    /// Requests with the right answer.
    pub succeeded: u64,
    /// All others.
    pub failed: u64,
    /// `succeeded` of `requests`, 0 to 1; 0 without any.
    pub success_rate: f64,
    /// Right answers a second, over the whole duration.
    pub throughput_per_second: f64,
    /// Latency of right answers and of timeouts, in ms.
    pub latency_ms: Latency,
    /// Failures by kind, without the kinds that did not occur.
    pub errors: BTreeMap<String, u64>,
    /// Every second of the run, by when requests ended; the last one is usually not a whole one.
    pub seconds: Vec<Second>,
}

/// Latencies in ms, to the microsecond with three significant digits; null where nothing was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[allow(missing_docs)] // the names say it all
pub struct Latency {
    pub min: Option<f64>,
    pub mean: Option<f64>,
    pub p50: Option<f64>,
    pub p75: Option<f64>,
    pub p90: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    pub p99_9: Option<f64>,
    pub max: Option<f64>,
}

/// One second of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Second {
    /// Which, from 0.
    pub second: u64,
    /// Requests that ended in it.
    pub requests: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Median latency in ms; null where nothing was measured.
    pub p50_ms: Option<f64>,
    /// 99th percentile in ms; null where nothing was measured.
    pub p99_ms: Option<f64>,
}

/// A run's figures, and how it came to them.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The figures.
    pub summary: Summary,
    /// Latency in ms at quantiles from 0 towards 1, ascending.
    pub curve: Vec<(f64, f64)>,
    /// The first failure of each kind, in words.
    pub examples: BTreeMap<String, String>,
    /// Where the run was stopped: requests that were due and did not end.
    pub given_up: Option<u64>,
    /// When the first request started.
    pub started: OffsetDateTime,
    /// The limits of the run.
    pub limits: Limits,
    /// How long a request could take.
    pub timeout: Duration,
    /// How many places were asked for.
    pub places: usize,
    /// The seed of their order, where it was random.
    pub seed: Option<u64>,
}

impl Latency {
    /// The figures of a histogram of microseconds.
    pub(crate) fn of(latencies: &Histogram<u64>) -> Self {
        if latencies.is_empty() {
            return Self::default();
        }
        let at = |quantile| Some(milliseconds(latencies, quantile));
        Self {
            min: Some(latencies.min() as f64 / 1000.0),
            mean: Some(rounded(latencies.mean() / 1000.0)),
            p50: at(0.5),
            p75: at(0.75),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p99_9: at(0.999),
            max: Some(latencies.max() as f64 / 1000.0),
        }
    }

    /// All of them with their names, in ascending order of meaning.
    #[must_use]
    pub fn named(&self) -> [(&'static str, Option<f64>); 9] {
        [
            ("min", self.min),
            ("mean", self.mean),
            ("p50", self.p50),
            ("p75", self.p75),
            ("p90", self.p90),
            ("p95", self.p95),
            ("p99", self.p99),
            ("p99.9", self.p99_9),
            ("max", self.max),
        ]
    }
}

/// What a run must reach.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Thresholds {
    /// The lowest success rate, 0 to 1.
    pub min_success: Option<f64>,
    /// The highest 99th percentile.
    pub max_p99: Option<Duration>,
}

impl Thresholds {
    /// A sentence for each threshold that was missed: which, and by how much. That something succeeds is one of them,
    /// whether it was asked for or not.
    #[must_use]
    pub fn missed(&self, summary: &Summary) -> Vec<String> {
        let success = self
            .min_success
            .filter(|least| summary.success_rate < *least)
            .map(|least| {
                let rate = summary.success_rate;
                let short = least - rate;
                format!("--min-success {least} missed by {short:.4}: success rate was {rate:.4}")
            });
        let p99 = self.max_p99.and_then(|most| {
            let (name, most) = (humantime::format_duration(most), most.as_secs_f64() * 1000.0);
            match summary.latency_ms.p99 {
                Some(p99) if p99 <= most => None,
                Some(p99) => Some(format!(
                    "--max-p99 {name} missed by {:.3} ms: p99 was {p99:.3} ms",
                    p99 - most
                )),
                None => Some(format!("--max-p99 {name} missed: no latency was measured")),
            }
        });
        let nothing = (summary.succeeded == 0).then(|| match summary.requests {
            0 => "nothing was asked".to_owned(),
            requests => format!("nothing succeeded: all {requests} requests failed"),
        });
        nothing.into_iter().chain(success).chain(p99).collect()
    }
}

/// The latency in ms that a share of the requests did not exceed.
pub(crate) fn milliseconds(latencies: &Histogram<u64>, quantile: f64) -> f64 {
    latencies.value_at_quantile(quantile) as f64 / 1000.0
}

/// To three places: more is noise.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// Latency in ms over quantiles, denser towards 1, as far as the number of requests tells them apart.
pub(crate) fn curve(latencies: &Histogram<u64>) -> Vec<(f64, f64)> {
    /// Points for each factor of ten of the remaining share.
    const STEPS: u32 = 20;
    let nines = (latencies.len().max(1) as f64).log10();
    let last = (nines * f64::from(STEPS)).floor() as u32;
    let quantile = |step: u32| 1.0 - 10f64.powf(-f64::from(step) / f64::from(STEPS));
    (0..=last)
        .filter(|_| !latencies.is_empty())
        .map(|step| (quantile(step), milliseconds(latencies, quantile(step))))
        .collect()
}
