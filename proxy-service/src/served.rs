//! An operation that this process serves.

use std::sync::Arc;

use roundtrip::OperationName;
use roundtrip::broker::Queue;

use crate::metrics::WorkerMetrics;

/// What the loops of all operations need of each.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) operation: OperationName,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) metrics: WorkerMetrics,
}
