//! Roundtrip: a durable, bounded request/reply queue between an HTTP API and a slow or fragile backend.
//!
//! The transport half knows no HTTP and no operation:
//! [`message`] says what travels, [`broker`] is the seam with its two backends, [`batch`] turns a stream
//! of single items into few large calls. What both processes share *as processes* lives in [`service`]:
//! configuration values, telemetry, problem documents, the circuit breaker around the broker, shutdown.

pub mod batch;
pub mod broker;
pub mod message;
pub mod service;

#[cfg(feature = "test-util")]
pub mod test_util;

pub use broker::{Broker, BrokerError};
pub use message::{Budget, CorrelationId, Fault, FaultCode, Keep, Reply, ReplyTo, Request};
