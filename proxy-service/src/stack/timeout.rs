//! One attempt does not use up the time of all.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::{Instant, timeout};

use crate::failure::Failure;
use crate::handler::{BoxHandler, Handler, Job};

/// Ends an attempt after a time, or at the deadline.
pub(super) struct AttemptTimeout {
    pub(super) inner: BoxHandler,
    pub(super) limit: Duration,
}

#[async_trait]
impl Handler for AttemptTimeout {
    async fn handle(&self, job: Job) -> Result<Bytes, Failure> {
        let left = job.deadline.saturating_duration_since(Instant::now());
        let attempt = timeout(self.limit.min(left), self.inner.handle(job));
        // A caller with little time says nothing about the upstream.
        let over = match left < self.limit {
            true => Failure::DeadlineExceeded,
            false => Failure::AttemptTimeout,
        };
        attempt.await.unwrap_or(Err(over))
    }
}
