//! How requests end, and how long they take.

use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::Instant;
use tower::Service;

use crate::failure::Failure;
use crate::handler::{Handler, Job};
use crate::metrics::WorkerMetrics;

/// Measures jobs, and logs those that fail.
#[derive(Debug, Clone)]
pub(super) struct Telemetry<S> {
    inner: S,
    metrics: WorkerMetrics,
}

impl<S> Telemetry<S> {
    pub(super) fn new(inner: S, metrics: WorkerMetrics) -> Self {
        Self { inner, metrics }
    }
}

impl<S: Handler> Service<Job> for Telemetry<S> {
    type Response = Bytes;
    type Error = Failure;
    type Future = BoxFuture<'static, Result<Bytes, Failure>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, job: Job) -> Self::Future {
        let (id, started, metrics) = (job.request.id, Instant::now(), self.metrics.clone());
        let trace = job.trace.clone();
        let work = self.inner.call(job);
        Box::pin(async move {
            let outcome = work.await;
            metrics.processing.observe(started.elapsed().as_secs_f64());
            match &outcome {
                Ok(_) => metrics.succeeded.inc(),
                Err(failure) => {
                    metrics.failed.with_label_values(&[failure.label()]).inc();
                    let (failure, detail) = (failure.label(), failure.to_fault().detail);
                    tracing::info!(request_id = %id, trace_id = trace.id(), failure, detail, "answered with a fault");
                }
            }
            outcome
        })
    }
}
