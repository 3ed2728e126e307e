//! Metrics in Prometheus' format. One registry a process; every name carries its unit.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use prometheus::core::Collector;
#[cfg(target_os = "linux")]
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{Counter, MetricFamily};
use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder, exponential_buckets,
};

use crate::broker::Depth;
use crate::operation::OperationName;

/// Where a process' metrics are registered: those of the process, or those of one of its operations, which say so in a
/// label. Registering a name twice for the same operation is a mistake in the code, and panics.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    operation: Option<OperationName>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// A registry with the process' own figures (CPU seconds, resident memory, descriptors) and its version.
    #[must_use]
    pub fn new() -> Self {
        let metrics = Self {
            registry: Registry::new(),
            operation: None,
        };
        #[cfg(target_os = "linux")]
        metrics
            .registry
            .register(Box::new(ProcessCollector::for_self()))
            .expect("the registry is empty");
        let version = Opts::new("roundtrip_build_info", "The version that runs; always 1")
            .const_label("version", env!("CARGO_PKG_VERSION"));
        let version = IntGauge::with_opts(version).expect("metric names are valid");
        version.set(1);
        metrics.register(version);
        metrics
    }

    /// The same registry, for metrics of one operation.
    #[must_use]
    pub fn of(&self, operation: OperationName) -> Self {
        Self {
            registry: self.registry.clone(),
            operation: Some(operation),
        }
    }

    /// The name of a metric, its description, and whose it is.
    fn opts(&self, name: &str, help: &str) -> Opts {
        let opts = Opts::new(name, help);
        match self.operation {
            Some(operation) => opts.const_label("operation", operation.as_str()),
            None => opts,
        }
    }

    fn histogram_opts(&self, name: &str, help: &str, buckets: Vec<f64>) -> HistogramOpts {
        HistogramOpts::from(self.opts(name, help)).buckets(buckets)
    }

    /// Everything, in Prometheus' text format.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = Vec::new();
        let mut families = self.registry.gather();
        exact_cpu_time(&mut families);
        TextEncoder::new()
            .encode(&families, &mut text)
            .expect("writing to memory does not fail");
        String::from_utf8(text).expect("the text format is UTF-8")
    }

    /// A counter.
    #[must_use]
    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::with_opts(self.opts(name, help)).expect("metric names are valid"))
    }

    /// A counter with labels.
    #[must_use]
    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(IntCounterVec::new(self.opts(name, help), labels).expect("metric names are valid"))
    }

    /// A counter for each of some values of a label. All of them from the start: a rate needs a first value.
    #[must_use]
    pub fn counters_of(&self, name: &str, help: &str, label: &str, values: &[&str]) -> IntCounterVec {
        let counters = self.counters(name, help, &[label]);
        for value in values {
            counters.with_label_values(&[value]);
        }
        counters
    }

    /// A whole number that goes up and down.
    #[must_use]
    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::with_opts(self.opts(name, help)).expect("metric names are valid"))
    }

    /// A number that goes up and down.
    #[must_use]
    pub fn float_gauge(&self, name: &str, help: &str) -> Gauge {
        self.register(Gauge::with_opts(self.opts(name, help)).expect("metric names are valid"))
    }

    /// A histogram of durations in seconds, from 0.25 ms to about 30 s.
    #[must_use]
    pub fn seconds(&self, name: &str, help: &str) -> Histogram {
        let buckets = exponential_buckets(0.000_25, 2.0, 18).expect("bounds are positive");
        self.register(Histogram::with_opts(self.histogram_opts(name, help, buckets)).expect("names are valid"))
    }

    /// A histogram of durations in seconds, with labels.
    #[must_use]
    pub fn seconds_by(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        let buckets = exponential_buckets(0.000_25, 2.0, 18).expect("bounds are positive");
        self.register(HistogramVec::new(self.histogram_opts(name, help, buckets), labels).expect("names are valid"))
    }

    /// A histogram of batch sizes, from 1 to 1024.
    #[must_use]
    pub fn sizes(&self, name: &str, help: &str) -> Histogram {
        let buckets = exponential_buckets(1.0, 2.0, 11).expect("bounds are positive");
        self.register(Histogram::with_opts(self.histogram_opts(name, help, buckets)).expect("names are valid"))
    }

    #[cfg(test)]
    pub(crate) fn collect(&self, collector: Box<dyn Collector>) {
        self.registry
            .register(collector)
            .expect("each metric is registered once");
    }

    fn register<C: Collector + Clone + 'static>(&self, collector: C) -> C {
        self.registry
            .register(Box::new(collector.clone()))
            .expect("each metric is registered once");
        collector
    }
}

/// The library counts whole seconds of CPU, of which no rate can be made.
fn exact_cpu_time(families: &mut [MetricFamily]) {
    const NAME: &str = "process_cpu_seconds_total";
    let family = families.iter_mut().find(|family| family.name() == NAME);
    if let (Some(family), Some(seconds)) = (family, cpu_time())
        && let Some(metric) = family.mut_metric().first_mut()
    {
        let mut counter = Counter::default();
        counter.set_value(seconds);
        metric.set_counter(counter);
    }
}

/// User and system time of this process in seconds: fields 14 and 15 of its `stat`, in hundredths on every Linux.
/// <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>
fn cpu_time() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field, the program's name, may hold anything but ends with the last parenthesis.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some((ticks()? + ticks()?) as f64 / 100.0)
}

/// What is known of the broker, sampled.
#[derive(Debug, Clone)]
pub(crate) struct BrokerMetrics {
    circuit: Gauge,
    fit: IntGauge,
    dead_letters: IntGauge,
    memory_used: IntGauge,
    memory_max: IntGauge,
    ping: Histogram,
}

impl BrokerMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            circuit: metrics.float_gauge(
                "redis_circuit_state",
                "Circuit breaker around the broker: 1 closed, 0.5 half-open, 0 open",
            ),
            fit: metrics.gauge(
                "roundtrip_broker_fit",
                "Whether the broker lets this service in and do its work: 0 with a wrong password, a missing right, or no \
                 append-only file where DURABILITY asks for one",
            ),
            dead_letters: metrics.gauge("roundtrip_dead_letters", "Dead letters kept, of all operations"),
            memory_used: metrics.gauge(
                "roundtrip_broker_memory_used_bytes",
                "Memory that the broker's server takes, sampled",
            ),
            memory_max: metrics.gauge(
                "roundtrip_broker_memory_max_bytes",
                "Memory that the broker's server may take before it refuses writes, sampled; 0 where nothing limits it",
            ),
            ping: metrics.seconds(
                "roundtrip_broker_ping_seconds",
                "Time the broker takes to answer a ping, in seconds, sampled",
            ),
        }
    }

    pub(crate) fn circuit(&self, state: f64) {
        self.circuit.set(state);
    }

    pub(crate) fn fit(&self, fit: bool) {
        self.fit.set(fit.into());
    }

    /// What the depth of any queue says of the broker.
    pub(crate) fn depth(&self, depth: &Depth) {
        self.dead_letters.set(depth.dead_letters as i64);
        if let Some(memory) = depth.memory {
            self.memory_used.set(memory.used as i64);
            self.memory_max.set(memory.max as i64);
        }
    }

    pub(crate) fn ping(&self, took: Duration) {
        self.ping.observe(took.as_secs_f64());
    }
}

/// What is known of one operation's queue, sampled.
#[derive(Debug, Clone)]
pub(crate) struct QueueMetrics {
    waiting: IntGauge,
    claimed: IntGauge,
    bytes: IntGauge,
    oldest: Gauge,
    workers: IntGauge,
    terminals: IntGauge,
}

impl QueueMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            waiting: metrics.gauge(
                "redis_stream_queue_depth",
                "Requests in the stream that no worker holds",
            ),
            claimed: metrics.gauge("roundtrip_queue_claimed", "Requests in the stream that a worker holds"),
            bytes: metrics.gauge(
                "roundtrip_queue_bytes",
                "What the requests in the stream take, in bytes, about; 0 where that is not known",
            ),
            oldest: metrics.float_gauge(
                "roundtrip_queue_oldest_waiting_seconds",
                "Age of the oldest request that no worker holds, in seconds; 0 when none waits",
            ),
            workers: metrics.gauge(
                "roundtrip_workers",
                "Workers that gave a sign of life within 15 seconds, whoever runs them; sampled",
            ),
            terminals: metrics.gauge(
                "roundtrip_worker_terminals",
                "Requests that these workers do at the same time at most, as far as they say; sampled",
            ),
        }
    }

    pub(crate) fn depth(&self, depth: &Depth) {
        self.waiting.set(depth.waiting as i64);
        self.claimed.set(depth.claimed as i64);
        self.bytes.set(depth.bytes as i64);
        self.workers.set(depth.workers as i64);
        self.terminals.set(depth.terminals as i64);
        self.oldest.set(depth.oldest_waiting.unwrap_or_default().as_secs_f64());
    }
}

/// HTTP requests by method, route and status, and the connections they come on.
#[derive(Debug, Clone)]
pub struct HttpMetrics(Arc<HttpCounters>);

#[derive(Debug)]
struct HttpCounters {
    requests: IntCounterVec,
    durations: HistogramVec,
    connections: IntGauge,
    refused: IntCounter,
    slow_clients: IntCounterVec,
}

impl HttpMetrics {
    /// Registers the HTTP metrics.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let requests = metrics.counters(
            "http_requests_total",
            "HTTP requests answered",
            &["method", "route", "status"],
        );
        let durations = metrics.seconds_by(
            "http_request_duration_seconds",
            "Time from the head of an HTTP request to the head of its response, in seconds",
            &["method", "route"],
        );
        let slow_clients = metrics.counters_of(
            "http_slow_clients_total",
            "HTTP connections ended because the client kept them waiting: for a head, for the next request (idle), or to write",
            "reason",
            &["head", "idle", "write"],
        );
        Self(Arc::new(HttpCounters {
            requests,
            durations,
            connections: metrics.gauge("http_connections", "HTTP connections open"),
            refused: metrics.counter(
                "http_connections_refused_total",
                "HTTP connections refused because MAX_CONNECTIONS were open",
            ),
            slow_clients,
        }))
    }

    pub(crate) fn connections(&self) -> &IntGauge {
        &self.0.connections
    }

    pub(crate) fn refused_connection(&self) {
        self.0.refused.inc();
    }

    pub(crate) fn slow_client(&self, reason: &str) {
        self.0.slow_clients.with_label_values(&[reason]).inc();
    }

    /// Counts and times one request. `route` is a route of ours, never a path: a caller cannot make new series.
    pub fn observe(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        let method = known_method(method);
        self.0
            .durations
            .with_label_values(&[method, route])
            .observe(took.as_secs_f64());
        self.0
            .requests
            .with_label_values(&[method, route, status.as_str()])
            .inc();
    }
}

fn known_method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
