//! More attempts, where they may help: few, jittered, inside the deadline, and never more than a share of
//! the traffic, so that retries do not hold an upstream down.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use roundtrip::observe::trace::Kind;
use roundtrip::resilience::backoff::Backoff;
use tokio::time::{Instant, sleep};
use tower::retry::budget::{Budget, TpsBudget};

use crate::failure::{Failure, MAX_RETRY_DELAY};
use crate::handler::{BoxHandler, Handler, Job};
use crate::metrics::WorkerMetrics;

const FIRST_DELAY: Duration = Duration::from_millis(50);

/// The least time another attempt is begun for. A tenth of the budget, where that is less.
const LEAST_TIME: Duration = Duration::from_millis(100);
const LEAST_PART: u32 = 10;

/// Repeats attempts that failed for a passing reason.
pub(super) struct Retry {
    inner: BoxHandler,
    /// On a first delivery. A redelivery gets one: its worker died, perhaps of it.
    attempts: u32,
    budget: TpsBudget,
    metrics: WorkerMetrics,
}

impl Retry {
    pub(super) fn new(inner: BoxHandler, attempts: u32, metrics: WorkerMetrics) -> Self {
        Self {
            inner,
            attempts,
            // Retries may be a fifth of the traffic of the last ten seconds; a quiet worker may do ten a second.
            budget: TpsBudget::new(Duration::from_secs(10), 10, 0.2),
            metrics,
        }
    }
}

#[async_trait]
impl Handler for Retry {
    async fn handle(&self, job: Job) -> Result<Bytes, Failure> {
        self.budget.deposit();
        let mut delays = Backoff::new(FIRST_DELAY, MAX_RETRY_DELAY);
        let mut attempts_left = if job.delivery == 1 { self.attempts } else { 1 };
        let mut earlier = None;
        let mut number = 0;
        loop {
            number += 1;
            let outcome = {
                let mut span = job.trace.begin(Kind::Internal, || "attempt");
                span.set("roundtrip.attempt", number);
                let outcome = self.inner.handle(job.clone()).await;
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
            let delay = delays.next_delay().max(failure.retry_after().unwrap_or_default());
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
