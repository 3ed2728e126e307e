//! What both services share as processes. Unlike the transport half of the crate this wing knows HTTP,
//! clap and Prometheus; neither half knows an operation.

pub mod admin;
pub mod around;
pub mod breaker;
pub mod command_line;
mod exposition;
pub mod guard;
pub mod health;
pub mod healthcheck;
mod host;
pub mod listener;
pub mod metrics;
pub mod openapi;
pub mod outage;
pub mod parameters;
pub mod problem;
pub mod request_id;
pub mod retry;
pub mod runtime;
pub mod server;
pub mod shutdown;
pub mod task;
pub mod telemetry;
pub mod traces;
pub mod values;

/// This machine's name, for names of instances and consumers that people read.
#[must_use]
pub fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    name.map_or_else(|_| "host".to_owned(), |name| name.trim().to_owned())
}
