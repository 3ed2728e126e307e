//! What a scenario makes of its history.

use std::time::Duration;

pub(crate) use checker::finding::{Finding, quantile, seconds};
use serde::Serialize;

/// A scenario's findings.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Opinion {
    pub(crate) findings: Vec<Finding>,
    /// How long the services took to recover, fault by fault.
    pub(crate) recoveries: Vec<Duration>,
}
