//! Nobody works for a caller who is gone, nor until the last moment: the answer has a way back.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use crate::failure::Failure;
use crate::handler::{BoxHandler, Handler, Job};

/// What is left of the budget for the answer's way back: the settlement, and its reader. A tenth of the budget where
/// that is less; and half of what is left where even that is less, as what is quick is still worth a try.
const WAY_BACK: Duration = Duration::from_millis(100);
const WAY_BACK_PART: u32 = 10;

/// Refuses jobs whose deadline has passed, and gives the others one that leaves the way back. It needs no timer: what
/// is inside makes no attempt, and no pause, that goes beyond.
pub(super) struct Deadline {
    pub(super) inner: BoxHandler,
}

#[async_trait]
impl Handler for Deadline {
    async fn handle(&self, mut job: Job) -> Result<Bytes, Failure> {
        let left = job.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::DeadlineExceeded);
        }
        let part = job.request.budget.as_duration() / WAY_BACK_PART;
        job.deadline -= WAY_BACK.min(part).min(left / 2);
        self.inner.handle(job).await
    }
}
