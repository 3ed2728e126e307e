//! Work that somebody ended is not waited for.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::sleep;
use tower::Service;

use crate::failure::Failure;
use crate::handler::{Handler, Job};

/// Drops work that goes on for longer than a grace after its end was asked for. A handler that watches
/// [`Job::cancelled`] can use that time; one that ends within it has its result.
#[derive(Debug, Clone)]
pub(super) struct Cancel<S> {
    inner: S,
    grace: Duration,
}

impl<S> Cancel<S> {
    pub(super) fn new(inner: S, grace: Duration) -> Self {
        Self { inner, grace }
    }
}

impl<S: Handler> Service<Job> for Cancel<S> {
    type Response = Bytes;
    type Error = Failure;
    type Future = BoxFuture<'static, Result<Bytes, Failure>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, job: Job) -> Self::Future {
        let (cancelled, grace) = (job.cancelled.clone(), self.grace);
        let work = self.inner.call(job);
        Box::pin(async move {
            tokio::select! {
                // Work first: what is done at once never looks whether it should be.
                biased;
                outcome = work => outcome,
                () = async { cancelled.cancelled().await; sleep(grace).await } => Err(Failure::Cancelled),
            }
        })
    }
}
