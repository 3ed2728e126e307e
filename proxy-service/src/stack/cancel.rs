//! Work that somebody ended is not waited for.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::sleep;

use crate::failure::Failure;
use crate::handler::{BoxHandler, Handler, Job};

/// Drops work that goes on for longer than a grace after its end was asked for. A handler that watches
/// [`Job::cancelled`] can use that time; one that ends within it has its result.
pub(super) struct Cancel {
    pub(super) inner: BoxHandler,
    pub(super) grace: Duration,
}

#[async_trait]
impl Handler for Cancel {
    async fn handle(&self, job: Job) -> Result<Bytes, Failure> {
        let cancelled = job.cancelled.clone();
        tokio::select! {
            // Work first: what is done at once never looks whether it should be.
            biased;
            outcome = self.inner.handle(job) => outcome,
            () = async { cancelled.cancelled().await; sleep(self.grace).await } => Err(Failure::Cancelled),
        }
    }
}
