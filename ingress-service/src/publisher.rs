//! From single requests to batches that the broker takes.

pub(crate) mod plain;
pub(crate) mod recorded;
mod retries;
