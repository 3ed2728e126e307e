//! What the figures belong to: they are compared within one run, never between machines.

use std::fmt;

use serde::Serialize;
use testbed::machine;
use time::OffsetDateTime;

/// Machine and versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Machine {
    date: String,
    version: &'static str,
    redis: String,
    cores: usize,
    processor: String,
    kernel: String,
}

impl Machine {
    /// This machine, with the redis-server that will run.
    pub(crate) async fn read() -> Result<Self, String> {
        Ok(Self {
            date: OffsetDateTime::now_utc().date().to_string(),
            version: env!("CARGO_PKG_VERSION"),
            redis: testbed::redis::version().await?,
            cores: machine::cores(),
            processor: machine::processor(),
            kernel: machine::kernel(),
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            date,
            version,
            redis,
            cores,
            processor,
            kernel,
        } = self;
        write!(
            f,
            "Roundtrip {version}, redis-server {redis} without persistence, simulated weather; {cores} × {processor}, Linux {kernel}, {date}; load, services and Redis on the same cores."
        )
    }
}
