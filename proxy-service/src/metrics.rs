//! What the workers measure: of each operation, and of the process.

use std::ops::Deref;
use std::sync::Arc;

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};
use roundtrip::observe::metrics::Metrics;

use crate::failure::Failure;

/// The metrics of one operation's workers. Cloned for every request, so it is one pointer.
#[derive(Debug, Clone)]
pub struct WorkerMetrics(Arc<Registered>);

/// The metrics themselves.
#[derive(Debug)]
pub struct Registered {
    pub(crate) active_terminals: IntGauge,
    pub(crate) processing: Histogram,
    pub(crate) queue_wait: Histogram,
    pub(crate) claim_batch: Histogram,
    pub(crate) succeeded: IntCounter,
    pub(crate) failed: IntCounterVec,
    pub(crate) retries: IntCounter,
    pub(crate) retries_refused: IntCounter,
    pub(crate) reclaimed: IntCounter,
    pub(crate) recovered: IntCounter,
    pub(crate) dead_letters: IntCounterVec,
    pub(crate) alone: IntCounter,
    pub(crate) rescued: IntCounter,
    pub(crate) groups_created: IntCounter,
    pub(crate) consumers_forgotten: IntCounter,
    pub(crate) lost_leases: IntCounter,
    pub(crate) paused: IntCounter,
    pub(crate) upstream_circuit: prometheus::Gauge,
}

impl WorkerMetrics {
    /// Registers the workers' metrics.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let requests = metrics.counters_of(
            "roundtrip_proxy_requests_total",
            "Requests worked on, by how they ended",
            "outcome",
            &Failure::LABELS,
        );
        Self(Arc::new(Registered {
            active_terminals: metrics.gauge("proxy_active_terminals", "Terminals at work"),
            processing: metrics.seconds(
                "roundtrip_processing_seconds",
                "Time from the start of the work on a request to its answer, retries included, in seconds",
            ),
            queue_wait: metrics.seconds(
                "roundtrip_queue_wait_seconds",
                "Time a request waited in the stream before it was claimed, in seconds, on the broker's clock",
            ),
            claim_batch: metrics.sizes(
                "roundtrip_proxy_claim_batch_size",
                "Deliveries in one claim that was not empty",
            ),
            succeeded: requests.with_label_values(&["ok"]),
            failed: requests,
            retries: metrics.counter("roundtrip_proxy_retries_total", "Attempts beyond a request's first"),
            retries_refused: metrics.counter(
                "roundtrip_proxy_retries_refused_total",
                "Attempts that were not made because retries are limited to a fifth of the traffic",
            ),
            reclaimed: metrics.counter(
                "roundtrip_proxy_reclaimed_total",
                "Deliveries taken over from workers that stopped renewing them",
            ),
            recovered: metrics.counter(
                "roundtrip_proxy_recovered_total",
                "Deliveries found again whose claim had failed halfway",
            ),
            dead_letters: metrics.counters_of(
                "roundtrip_proxy_dead_letters_total",
                "Requests given up, by reason: max_deliveries, panicked or malformed",
                "reason",
                &["max_deliveries", "panicked", "malformed"],
            ),
            alone: metrics.counter(
                "roundtrip_proxy_alone_total",
                "Deliveries run with nothing beside them, because their workers kept dying",
            ),
            rescued: metrics.counter(
                "roundtrip_proxy_rescued_total",
                "Entries brought back that were in nobody's hands and that no claim would find",
            ),
            groups_created: metrics.counter(
                "roundtrip_proxy_groups_created_total",
                "Times the consumer group was missing and made again",
            ),
            consumers_forgotten: metrics.counter(
                "roundtrip_proxy_consumers_forgotten_total",
                "Consumers of dead workers that were removed from the group",
            ),
            lost_leases: metrics.counter(
                "roundtrip_proxy_lost_leases_total",
                "Deliveries in hand whose lease had passed on when it was to be renewed",
            ),
            paused: metrics.counter(
                "roundtrip_proxy_claim_pauses_total",
                "Turns without a claim because the upstream's circuit breaker was open, about five a second",
            ),
            upstream_circuit: metrics.float_gauge(
                "roundtrip_upstream_circuit_state",
                "Circuit breaker around the upstream: 1 closed, 0.5 half-open, 0 open",
            ),
        }))
    }
}

impl Deref for WorkerMetrics {
    type Target = Registered;

    fn deref(&self) -> &Registered {
        &self.0
    }
}

/// The metrics of a process' workers, whatever they work on.
#[derive(Debug, Clone)]
pub struct PoolMetrics {
    pub(crate) terminals: IntGauge,
    pub(crate) settle_batch: Histogram,
    pub(crate) settle: Histogram,
    pub(crate) settlement_refused: IntGauge,
    pub(crate) records_ended: IntCounter,
}

impl PoolMetrics {
    /// Registers them.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            terminals: metrics.gauge("roundtrip_proxy_terminals", "Terminals there are"),
            settle_batch: metrics.sizes("roundtrip_proxy_settle_batch_size", "Settlements in one call"),
            settle: metrics.seconds(
                "roundtrip_proxy_settle_seconds",
                "Time of one call that settles a batch, in seconds",
            ),
            settlement_refused: metrics.gauge(
                "roundtrip_proxy_settlement_refused",
                "1 while the broker refuses settlements, and nothing is claimed therefore",
            ),
            records_ended: metrics.counter(
                "roundtrip_proxy_records_ended_total",
                "Records ended as expired whose requests were past their deadline and in nobody's hands any more",
            ),
        }
    }
}
