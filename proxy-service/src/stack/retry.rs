//! More attempts, where they may help: few, jittered, inside the deadline, and never more than a share of
//! the traffic, so that retries do not hold an upstream down.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use roundtrip::observe::trace::Kind;
use roundtrip::resilience::backoff::Backoff;
use tokio::time::{Instant, sleep};
use tower::Service;
use tower::retry::budget::{Budget, TpsBudget};

use crate::failure::{Failure, MAX_RETRY_DELAY};
use crate::handler::{Handler, Job};
use crate::metrics::WorkerMetrics;

/// Attempts on a first delivery. A redelivery gets one: its worker died, perhaps of it.
const ATTEMPTS: u32 = 3;

const FIRST_DELAY: Duration = Duration::from_millis(50);

/// The least time another attempt is begun for. A tenth of the budget, where that is less.
const LEAST_TIME: Duration = Duration::from_millis(100);
const LEAST_PART: u32 = 10;

/// Retries may be a fifth of the traffic of the last ten seconds; a quiet worker may do ten a second.
pub(super) fn budget() -> Arc<TpsBudget> {
    Arc::new(TpsBudget::new(Duration::from_secs(10), 10, 0.2))
}

/// Repeats attempts that failed for a passing reason.
#[derive(Debug, Clone)]
pub(super) struct Retry<S> {
    inner: S,
    budget: Arc<TpsBudget>,
    metrics: WorkerMetrics,
}

impl<S> Retry<S> {
    pub(super) fn new(inner: S, budget: Arc<TpsBudget>, metrics: WorkerMetrics) -> Self {
        Self { inner, budget, metrics }
    }
}

impl<S: Handler> Service<Job> for Retry<S> {
    type Response = Bytes;
    type Error = Failure;
    type Future = BoxFuture<'static, Result<Bytes, Failure>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, job: Job) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            this.budget.deposit();
            this.attempt_until_done(job).await
        })
    }
}

impl<S: Handler> Retry<S> {
    async fn attempt_until_done(mut self, job: Job) -> Result<Bytes, Failure> {
        let mut delays = Backoff::new(FIRST_DELAY, MAX_RETRY_DELAY);
        let mut attempts_left = if job.delivery == 1 { ATTEMPTS } else { 1 };
        let mut earlier = None;
        let mut number = 0;
        loop {
            number += 1;
            let outcome = {
                let mut span = job.trace.begin(Kind::Internal, || "attempt");
                span.set("roundtrip.attempt", number);
                let outcome = self.inner.call(job.clone()).await;
                if let Err(failure) = &outcome {
                    span.fail(failure.label());
                }
                outcome
            };
            let failure = match outcome {
                Ok(answer) => return Ok(answer),
                // After an attempt, "nothing was attempted" would not be true any more.
                Err(Failure::CircuitOpen { retry_after }) => {
                    return Err(earlier.unwrap_or_else(|| Failure::unavailable(job.delivery, retry_after)));
                }
                Err(failure) => failure,
            };
            attempts_left -= 1;
            let delay = delays
                .next()
                .unwrap_or(MAX_RETRY_DELAY)
                .max(failure.retry_after().unwrap_or_default());
            let least = LEAST_TIME.min(job.request.budget.as_duration() / LEAST_PART);
            let too_late = Instant::now() + delay + least >= job.deadline;
            if attempts_left == 0 || !failure.is_retryable() || too_late {
                return Err(failure);
            }
            if !self.budget.withdraw() {
                self.metrics.retries_refused.inc();
                return Err(failure);
            }
            let delay_ms = delay.as_millis() as u64;
            tracing::debug!(request_id = %job.request.id, failure = failure.label(), delay_ms, "trying again");
            earlier = Some(failure);
            self.metrics.retries.inc();
            sleep(delay).await;
        }
    }
}
