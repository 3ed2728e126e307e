//! Whether anybody works, told when it changes.

use crate::broker::Depth;

/// Whether requests wait and nobody works, as it was last told.
#[derive(Debug, Default)]
pub(super) struct Workforce {
    is_missing: bool,
}

impl Workforce {
    pub(super) fn look(&mut self, depth: &Depth) {
        let (waiting, workers) = (depth.waiting, depth.workers);
        if workers == 0 && waiting > 0 && !self.is_missing {
            tracing::warn!(
                waiting,
                "no worker is connected; requests wait for one until their time runs out"
            );
            self.is_missing = true;
        }
        if workers > 0 && self.is_missing {
            tracing::info!(waiting, workers, "workers are connected again");
            self.is_missing = false;
        }
    }
}
