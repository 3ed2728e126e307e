//! What keeps failures small: pauses that grow, circuit breakers, the breaker around the broker.

pub mod backoff;
pub mod breaker;
pub mod circuit_broker;
