//! Admission against synthetic samples, on instants that nobody waits for.
#![allow(clippy::unwrap_used)]

mod load;
mod rules;
mod world;

use std::sync::Arc;
use std::time::Duration;

use roundtrip::broker::memory::MemoryBroker;
use roundtrip::service::guard::GuardedBroker;
use roundtrip::service::health::Health;
use roundtrip::service::metrics::{BrokerMetrics, Metrics};

use super::{Admission, Limits};

const TIMEOUT: Duration = Duration::from_secs(2);
const TICK: Duration = Duration::from_millis(1);

fn admission(request_timeout: Duration, max_queue_age: Option<Duration>) -> Admission {
    let breaker = GuardedBroker::new(Arc::new(MemoryBroker::new())).breaker();
    let health = Health::new("test", breaker, BrokerMetrics::new(&Metrics::new()));
    let limits = Limits {
        request_timeout,
        max_in_flight: 100,
        max_queue_age,
    };
    Admission::new(limits, health)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
