//! An upstream that keeps failing gets a pause.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use roundtrip::resilience::breaker::{Breaker, Rejection};
use tokio::time::Instant;

use super::fair::FairTime;
use crate::failure::Failure;
use crate::handler::{BoxHandler, Handler, Job};
use crate::metrics::WorkerMetrics;

/// Runs attempts through the upstream's circuit breaker.
pub(super) struct CircuitBreaker {
    inner: BoxHandler,
    breaker: Arc<Breaker>,
    fair: FairTime,
    metrics: WorkerMetrics,
}

impl CircuitBreaker {
    pub(super) fn new(inner: BoxHandler, breaker: Arc<Breaker>, fair: FairTime, metrics: WorkerMetrics) -> Self {
        Self {
            inner,
            breaker,
            fair,
            metrics,
        }
    }
}

#[async_trait]
impl Handler for CircuitBreaker {
    async fn handle(&self, job: Job) -> Result<Bytes, Failure> {
        let started = Instant::now();
        // Called inside: while the breaker is open the handler is not even asked for a future.
        let attempt = async {
            let answer = self.inner.handle(job).await?;
            self.fair.answered(started.elapsed());
            Ok(answer)
        };
        let judge = |failure: &Failure| {
            let had_fair_time = *failure == Failure::DeadlineExceeded && self.fair.had(started.elapsed());
            failure.verdict(had_fair_time)
        };
        let outcome = self.breaker.call(judge, attempt).await;
        self.metrics.upstream_circuit.set(self.breaker.state().gauge());
        outcome.map_err(|refused| match refused {
            Rejection::Failed(failure) => failure,
            Rejection::Open { retry_after } => Failure::CircuitOpen { retry_after },
        })
    }
}
