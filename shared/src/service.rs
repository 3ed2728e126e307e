//! What both services share as processes. Unlike the transport half of the crate this wing knows HTTP,
//! clap and Prometheus; neither half knows an operation.

pub mod admin;
pub mod breaker;
pub mod guard;
pub mod health;
pub mod metrics;
pub mod openapi;
pub mod problem;
pub mod request_id;
pub mod retry;
pub mod server;
pub mod shutdown;
pub mod telemetry;
pub mod values;
