//! What operators see: metrics, health, outages, traces.

pub mod exposition;
pub mod health;
pub mod metrics;
pub mod outage;
pub mod trace;
