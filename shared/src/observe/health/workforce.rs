//! Whether anybody works for an operation, told when it changes.

use crate::broker::Depth;
use crate::operation::OperationName;

/// Whether requests wait and nobody works, as it was last told.
#[derive(Debug)]
pub(super) struct Workforce {
    operation: OperationName,
    is_missing: bool,
}

impl Workforce {
    pub(super) fn new(operation: OperationName) -> Self {
        let is_missing = false;
        Self { operation, is_missing }
    }

    pub(super) fn look(&mut self, depth: &Depth) {
        let (waiting, workers, operation) = (depth.waiting, depth.workers, self.operation);
        if workers == 0 && waiting > 0 && !self.is_missing {
            tracing::warn!(
                waiting,
                %operation,
                "no worker is connected; requests wait for one until their time runs out"
            );
            self.is_missing = true;
        }
        if workers > 0 && self.is_missing {
            tracing::info!(waiting, workers, %operation, "workers are connected again");
            self.is_missing = false;
        }
    }
}
