//! What the ingress measures, besides its HTTP requests: of the process, and of each operation.

use prometheus::{Gauge, Histogram, IntCounter, IntCounterVec, IntGauge};
use roundtrip::broker::CancelOutcome;
use roundtrip::observe::metrics::Metrics;

/// The metrics of the process.
#[derive(Debug, Clone)]
pub struct IngressMetrics {
    pub(crate) pending: IntGauge,
    pub(crate) publish: Histogram,
    pub(crate) publish_batch: Histogram,
    pub(crate) reply_batch: Histogram,
    pub(crate) late_replies: IntCounter,
    pub(crate) streams_removed: IntCounter,
    pub(crate) body_bytes: IntGauge,
    pub(crate) stored: IntCounter,
    pub(crate) adopted: IntCounter,
    pub(crate) cancelled: IntCounterVec,
    pub(crate) followers: IntGauge,
    pub(crate) waits: IntGauge,
    pub(crate) event_streams: IntGauge,
}

impl IngressMetrics {
    /// Registers them.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            pending: metrics.gauge("ingress_pending_requests", "Requests that wait for their reply"),
            publish: metrics.seconds(
                "roundtrip_ingress_publish_seconds",
                "Time of one call that publishes a batch, in seconds",
            ),
            publish_batch: metrics.sizes(
                "roundtrip_ingress_publish_batch_size",
                "Requests in one published batch",
            ),
            reply_batch: metrics.sizes(
                "roundtrip_ingress_reply_batch_size",
                "Replies in one read that was not empty",
            ),
            late_replies: metrics.counter(
                "roundtrip_ingress_late_replies_total",
                "Replies that nobody waited for any more",
            ),
            streams_removed: metrics.counter(
                "roundtrip_ingress_reply_streams_removed_total",
                "Reply streams removed whose instances were gone",
            ),
            body_bytes: metrics.gauge(
                "roundtrip_ingress_body_bytes",
                "Memory taken by request bodies that are being read, in bytes",
            ),
            stored: metrics.counter(
                "roundtrip_ingress_stored_replies_total",
                "Replies that nobody waited for any more, and that became results of their records",
            ),
            adopted: metrics.counter(
                "roundtrip_ingress_adopted_replies_total",
                "Replies to instances that are gone, and that became results of their records",
            ),
            cancelled: metrics.counters_of(
                "roundtrip_ingress_cancellations_total",
                "Requests that somebody ended, or wanted to, by what became of it: never_started, asked, ended_before \
                 or unknown",
                "outcome",
                &["never_started", "asked", "ended_before", "unknown"],
            ),
            followers: metrics.gauge(
                "roundtrip_ingress_followers",
                "Calls that wait for a request that another call with their Idempotency-Key made",
            ),
            waits: metrics.gauge(
                "roundtrip_ingress_record_waits",
                "Calls of GET /requests/{id} that wait for the request's end (Prefer: wait)",
            ),
            event_streams: metrics.gauge("roundtrip_ingress_event_streams", "Streams of events that are open"),
        }
    }

    pub(crate) fn count_cancelled(&self, cancelled: CancelOutcome) {
        self.cancelled.with_label_values(&[cancel_outcome(cancelled)]).inc();
    }
}

/// The metrics of one operation.
#[derive(Debug, Clone)]
pub struct OperationMetrics {
    pub(crate) reply_latency: Histogram,
    pub(crate) refused: IntCounterVec,
    pub(crate) timeouts: IntCounter,
    pub(crate) promised: IntCounterVec,
    pub(crate) keys: IntCounterVec,
    pub(crate) predicted_wait: Gauge,
    pub(crate) completion_rate: Gauge,
}

impl OperationMetrics {
    /// Registers them, with the metrics of the operation.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            reply_latency: metrics.seconds(
                "roundtrip_reply_latency_seconds",
                "Time from a request's admission to its reply, in seconds",
            ),
            refused: metrics.counters_of(
                "roundtrip_ingress_refused_total",
                "Requests that were not accepted, by reason: overloaded (MAX_IN_FLIGHT), queue_wait, queue_age, \
                 memory (MAX_MEMORY_SHARE), \
                 queue_share (jobs: JOB_SHARE), followers (MAX_FOLLOWERS), event_streams (MAX_EVENT_STREAMS), \
                 body_memory (MAX_BODY_MEMORY), broker_unavailable or outcome_unknown",
                "reason",
                &[
                    "overloaded",
                    "queue_wait",
                    "queue_age",
                    "memory",
                    "queue_share",
                    "followers",
                    "event_streams",
                    "body_memory",
                    "broker_unavailable",
                    "outcome_unknown",
                ],
            ),
            timeouts: metrics.counter(
                "roundtrip_ingress_reply_timeouts_total",
                "Requests without a reply within REQUEST_TIMEOUT",
            ),
            promised: metrics.counters_of(
                "roundtrip_ingress_promised_total",
                "Calls answered before their requests were done, by why: async (not to wait was asked for), wait (the \
                 wait was over), timeout (REQUEST_TIMEOUT)",
                "reason",
                &["async", "wait", "timeout"],
            ),
            keys: metrics.counters_of(
                "roundtrip_ingress_idempotency_keys_total",
                "Calls with an Idempotency-Key, by what became of them: new, known or conflict",
                "outcome",
                &["new", "known", "conflict"],
            ),
            predicted_wait: metrics.float_gauge(
                "roundtrip_ingress_predicted_wait_seconds",
                "How long a request would wait for a worker, in seconds, sampled; 0 while that is unknown",
            ),
            completion_rate: metrics.float_gauge(
                "roundtrip_ingress_completion_rate",
                "Requests completed per second while others waited, by all workers, sampled; 0 while that is unknown",
            ),
        }
    }
}

/// What became of a cancellation, as a label.
pub(crate) fn cancel_outcome(cancelled: CancelOutcome) -> &'static str {
    match cancelled {
        CancelOutcome::Cancelled => "never_started",
        CancelOutcome::Requested => "asked",
        CancelOutcome::AlreadyFinished(_) => "ended_before",
        CancelOutcome::Unknown => "unknown",
    }
}
