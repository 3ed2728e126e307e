//! Admission against synthetic samples, on instants that nobody waits for.
#![allow(clippy::unwrap_used)]

mod jobs;
mod load;
mod rules;
mod world;

use std::sync::Arc;
use std::time::Duration;

use roundtrip::OperationName;
use roundtrip::broker::memory::MemoryBroker;
use roundtrip::observe::health::Health;
use roundtrip::observe::metrics::Metrics;
use roundtrip::resilience::circuit_broker::CircuitBroker;

use super::{Admission, Entrant, JobLimits, Limits};

const TIMEOUT: Duration = Duration::from_secs(2);
const JOBS: JobLimits = JobLimits {
    share: 0.5,
    queued: 400,
    bytes: 1_000_000,
};
const TICK: Duration = Duration::from_millis(1);

fn admission(request_timeout: Duration, max_queue_age: Option<Duration>) -> Admission {
    let breaker = CircuitBroker::new(Arc::new(MemoryBroker::new())).breaker();
    let operation = OperationName::first();
    let health = Health::new("test", breaker, &Metrics::new(), [operation]);
    let limits = Limits {
        request_timeout,
        max_in_flight: 100,
        max_queue_age,
        max_memory_share: 0.9,
        jobs: JOBS,
    };
    Admission::new(operation, limits, health)
}

/// One who waits for the answer.
fn caller(budget: Duration) -> Entrant {
    Entrant {
        budget,
        bytes: 100,
        is_job: false,
    }
}

/// One who does not, and has all the time there is.
fn job() -> Entrant {
    Entrant {
        budget: Duration::from_secs(86_400),
        bytes: 100,
        is_job: true,
    }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
