//! The layers around a handler, outermost first, each with its reason.

mod breaker;
mod cancel;
mod catch_panic;
mod deadline;
mod fair;
mod retry;
mod telemetry;
mod timeout;

use std::sync::Arc;
use std::time::Duration;

use failsafe::failure_policy::{FailurePolicy as _, consecutive_failures, success_rate_over_time_window};
use roundtrip::resilience::breaker::Breaker;

use self::breaker::CircuitBreaker;
use self::cancel::Cancel;
use self::catch_panic::CatchPanic;
use self::deadline::Deadline;
use self::fair::FairTime;
use self::retry::Retry;
use self::telemetry::Telemetry;
use self::timeout::AttemptTimeout;
use crate::handler::BoxHandler;
use crate::metrics::WorkerMetrics;

/// Calls that may run while the upstream's breaker is half-open.
pub(crate) const PROBES: usize = 5;

/// What the stack is tuned with.
#[derive(Debug, Clone, Copy)]
pub struct StackOptions {
    /// Attempts on a first delivery.
    pub attempts: u32,
    /// How long one attempt may take.
    pub attempt_timeout: Duration,
    /// How long work may go on after its end was asked for.
    pub cancel_grace: Duration,
}

/// Puts the layers around `handler`, outermost first.
#[must_use]
pub fn around(
    handler: BoxHandler,
    options: StackOptions,
    upstream: Arc<Breaker>,
    metrics: WorkerMetrics,
) -> BoxHandler {
    let (limit, grace) = (options.attempt_timeout, options.cancel_grace);
    let (upstream, metrics) = (|| upstream.clone(), || metrics.clone());
    let layers: &[&dyn Fn(BoxHandler) -> BoxHandler] = &[
        // Sees how the request ended for the caller, with all attempts and pauses.
        &|inner| Arc::new(Telemetry::new(inner, metrics())),
        // Outside the retries: what somebody ended is not tried again.
        &|inner| Arc::new(Cancel { inner, grace }),
        // Outside the retries: all attempts together leave the answer its way back.
        &|inner| Arc::new(Deadline { inner }),
        // Outside the breaker: an open breaker ends the attempts instead of being one more of them.
        &|inner| Arc::new(Retry::new(inner, options.attempts, metrics())),
        // Counts attempts, not requests: it learns from each of them.
        &|inner| Arc::new(CircuitBreaker::new(inner, upstream(), FairTime::new(limit), metrics())),
        // Inside the breaker: a call that is dropped would count as nothing. It alone ends attempts, at the deadline too.
        &|inner| Arc::new(AttemptTimeout { inner, limit }),
        // Innermost: whatever the handler does, the layers above see a failure they know.
        &|inner| Arc::new(CatchPanic { inner }),
    ];
    layers.iter().rfold(handler, |inner, layer| layer(inner))
}

/// The breaker for the upstream of an operation, which logs name so: opens after ten failures in a row, or when half of at least twenty calls
/// in ten seconds failed; for a second at first, doubling up to thirty, jittered; five probes while half-open.
#[must_use]
pub fn upstream_breaker(operation: &'static str) -> Breaker {
    breaker_open_for(operation, open_times())
}

fn breaker_open_for(
    operation: &'static str,
    times: impl Iterator<Item = Duration> + Clone + Send + Sync + 'static,
) -> Breaker {
    let policy = success_rate_over_time_window(0.5, 20, Duration::from_secs(10), times.clone())
        .or_else(consecutive_failures(10, times));
    Breaker::new(operation, policy, PROBES)
}

/// The library's jittered times count whole seconds, and turn one second into none.
fn open_times() -> impl Iterator<Item = Duration> + Clone {
    let doubled = |time: &Duration| Some((*time * 2).min(Duration::from_secs(30)));
    let times = std::iter::successors(Some(Duration::from_secs(1)), doubled);
    // A quarter of jitter keeps a fleet from probing in step.
    times.map(|time| time.mul_f64(0.75 + fastrand::f64() / 2.0))
}

#[cfg(test)]
mod tests;
