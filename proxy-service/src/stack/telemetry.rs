//! How requests end, and how long they take.

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use crate::failure::Failure;
use crate::handler::{BoxHandler, Handler, Job};
use crate::metrics::WorkerMetrics;

/// Measures jobs, and logs those that fail.
pub(super) struct Telemetry {
    inner: BoxHandler,
    metrics: WorkerMetrics,
}

impl Telemetry {
    pub(super) fn new(inner: BoxHandler, metrics: WorkerMetrics) -> Self {
        Self { inner, metrics }
    }
}

#[async_trait]
impl Handler for Telemetry {
    async fn handle(&self, job: Job) -> Result<Bytes, Failure> {
        let (id, trace, started) = (job.request.id, job.trace.clone(), Instant::now());
        let outcome = self.inner.handle(job).await;
        self.metrics.processing.observe(started.elapsed().as_secs_f64());
        match &outcome {
            Ok(_) => self.metrics.succeeded.inc(),
            Err(failure) => {
                self.metrics.failed.with_label_values(&[failure.label()]).inc();
                let (failure, detail) = (failure.label(), failure.to_fault().detail);
                tracing::info!(request_id = %id, trace_id = trace.id(), failure, detail, "answered with a fault");
            }
        }
        outcome
    }
}
