//! An upstream that keeps failing gets a pause.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use roundtrip::resilience::breaker::{Breaker, Rejection};
use tokio::time::Instant;
use tower::Service;

use super::fair::FairTime;
use crate::failure::Failure;
use crate::handler::{Handler, Job};
use crate::metrics::WorkerMetrics;

/// Runs attempts through the upstream's circuit breaker.
#[derive(Debug, Clone)]
pub(super) struct CircuitBreaker<S> {
    inner: S,
    breaker: Arc<Breaker>,
    fair: Arc<FairTime>,
    metrics: WorkerMetrics,
}

impl<S> CircuitBreaker<S> {
    pub(super) fn new(inner: S, breaker: Arc<Breaker>, fair: Arc<FairTime>, metrics: WorkerMetrics) -> Self {
        Self {
            inner,
            breaker,
            fair,
            metrics,
        }
    }
}

impl<S: Handler> Service<Job> for CircuitBreaker<S> {
    type Response = Bytes;
    type Error = Failure;
    type Future = BoxFuture<'static, Result<Bytes, Failure>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, job: Job) -> Self::Future {
        let (breaker, mut handler) = (self.breaker.clone(), self.inner.clone());
        let (fair, metrics) = (self.fair.clone(), self.metrics.clone());
        Box::pin(async move {
            let started = Instant::now();
            // Called inside: while the breaker is open the handler is not even asked for a future.
            let attempt = async {
                let answer = handler.call(job).await?;
                fair.answered(started.elapsed());
                Ok(answer)
            };
            let judge = |failure: &Failure| {
                let had_fair_time = *failure == Failure::DeadlineExceeded && fair.had(started.elapsed());
                failure.verdict(had_fair_time)
            };
            let outcome = breaker.call(judge, attempt).await;
            metrics.upstream_circuit.set(breaker.state().gauge());
            outcome.map_err(|refused| match refused {
                Rejection::Failed(failure) => failure,
                Rejection::Open { retry_after } => Failure::CircuitOpen { retry_after },
            })
        })
    }
}
