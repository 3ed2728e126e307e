//! The layers around a handler, outermost first, each with its reason.

mod breaker;
mod catch_panic;
mod deadline;
mod retry;
mod telemetry;
mod timeout;

use std::sync::Arc;
use std::time::Duration;

use failsafe::backoff::equal_jittered;
use failsafe::failure_policy::{FailurePolicy as _, consecutive_failures, success_rate_over_time_window};
use roundtrip::service::breaker::Breaker;
use tower::ServiceBuilder;
use tower::layer::layer_fn;

use crate::job::{BoxHandler, Handler};
use crate::metrics::WorkerMetrics;

/// What the stack is tuned with.
#[derive(Debug, Clone, Copy)]
pub struct StackOptions {
    /// How long one attempt may take.
    pub attempt_timeout: Duration,
}

/// Puts the layers around `handler`.
#[must_use]
pub fn around(
    handler: impl Handler,
    options: StackOptions,
    upstream: Arc<Breaker>,
    metrics: WorkerMetrics,
) -> BoxHandler {
    let budget = retry::budget();
    let layers = ServiceBuilder::new()
        // Sees how the request ended for the caller, with all attempts and pauses.
        .layer(layer_fn(|inner| telemetry::Telemetry::new(inner, metrics.clone())))
        // Outside the retries: no number of attempts outlives the caller.
        .layer(layer_fn(deadline::Deadline::new))
        // Outside the breaker: an open breaker ends the attempts instead of being one more of them.
        .layer(layer_fn(|inner| {
            retry::Retry::new(inner, budget.clone(), metrics.clone())
        }))
        // Counts attempts, not requests: it learns from each of them.
        .layer(layer_fn(|inner| {
            breaker::CircuitBreaker::new(inner, upstream.clone(), metrics.clone())
        }))
        // Inside the breaker: a call that is dropped would count as nothing.
        .layer(layer_fn(|inner| {
            timeout::AttemptTimeout::new(inner, options.attempt_timeout)
        }))
        // Innermost: whatever the handler does, the layers above see a failure they know.
        .layer(layer_fn(catch_panic::CatchPanic::new))
        .service(handler);
    BoxHandler::new(layers)
}

/// The breaker for one upstream: opens after ten failures in a row, or when half of at least twenty calls
/// in ten seconds failed; for a second at first, up to thirty, jittered; five probes while half-open.
#[must_use]
pub fn upstream_breaker() -> Breaker {
    // The library's jittered delays take no less than a second; half of each is fixed.
    let open_time = || equal_jittered(Duration::from_secs(1), Duration::from_secs(30));
    let policy = success_rate_over_time_window(0.5, 20, Duration::from_secs(10), open_time())
        .or_else(consecutive_failures(10, open_time()));
    Breaker::new("upstream", policy, 5)
}

#[cfg(test)]
mod tests;
