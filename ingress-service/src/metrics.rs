//! What the ingress measures, besides its HTTP requests.

use prometheus::{Gauge, Histogram, IntCounter, IntCounterVec, IntGauge};
use roundtrip::service::metrics::Metrics;

/// The ingress' metrics.
#[derive(Debug, Clone)]
pub struct IngressMetrics {
    pub(crate) pending: IntGauge,
    pub(crate) publish: Histogram,
    pub(crate) publish_batch: Histogram,
    pub(crate) reply_latency: Histogram,
    pub(crate) reply_batch: Histogram,
    pub(crate) late_replies: IntCounter,
    pub(crate) streams_removed: IntCounter,
    pub(crate) refused: IntCounterVec,
    pub(crate) timeouts: IntCounter,
    pub(crate) predicted_wait: Gauge,
    pub(crate) completion_rate: Gauge,
}

impl IngressMetrics {
    /// Registers the ingress' metrics.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            pending: metrics.gauge("ingress_pending_requests", "Requests that wait for their reply"),
            publish: metrics.seconds(
                "ingress_publish_seconds",
                "Time of one call that publishes a batch, in seconds",
            ),
            publish_batch: metrics.sizes("ingress_publish_batch_size", "Requests in one published batch"),
            reply_latency: metrics.seconds(
                "reply_latency_seconds",
                "Time from a request's admission to its reply, in seconds",
            ),
            reply_batch: metrics.sizes("ingress_reply_batch_size", "Replies in one read that was not empty"),
            late_replies: metrics.counter("ingress_late_replies_total", "Replies that nobody waited for any more"),
            streams_removed: metrics.counter(
                "ingress_reply_streams_removed_total",
                "Reply streams removed whose instances were gone",
            ),
            refused: metrics.counters_of(
                "ingress_refused_total",
                "Requests that were not accepted, by reason: overloaded (MAX_IN_FLIGHT), queue_wait, queue_age, \
                 broker_unavailable or outcome_unknown",
                "reason",
                &[
                    "overloaded",
                    "queue_wait",
                    "queue_age",
                    "broker_unavailable",
                    "outcome_unknown",
                ],
            ),
            timeouts: metrics.counter(
                "ingress_reply_timeouts_total",
                "Requests without a reply within REQUEST_TIMEOUT",
            ),
            predicted_wait: metrics.float_gauge(
                "ingress_predicted_wait_seconds",
                "How long a request would wait for a worker, in seconds, sampled; 0 while that is unknown",
            ),
            completion_rate: metrics.float_gauge(
                "ingress_completion_rate",
                "Requests completed per second while others waited, by all workers, sampled; 0 while that is unknown",
            ),
        }
    }
}
