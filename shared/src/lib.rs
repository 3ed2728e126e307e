//! Roundtrip: a durable, bounded request/reply queue between an HTTP API and a slow or fragile backend.
//!
//! The transport knows no HTTP and no operation: [`message`] says what travels, [`broker`] is the seam with its two
//! backends, [`batch`] turns a stream of single items into few large calls. What both services share beside it stands
//! on it, each on those before: [`resilience`], [`process`], [`observe`], [`http`].

pub mod batch;
pub mod broker;
pub mod http;
pub mod message;
pub mod observe;
pub mod operation;
pub mod process;
pub mod resilience;
pub mod service;

pub use broker::{Broker, BrokerError};
pub use message::{Budget, CorrelationId, Fault, FaultCode, Keep, Origin, Partition, Reply, ReplyTo, Request, Tenant};
pub use operation::{Operation, OperationName};
