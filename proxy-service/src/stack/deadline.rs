//! Nobody works for a caller who is gone.

use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout_at};
use tower::Service;

use crate::classify::Failure;
use crate::job::{Handler, Job};

/// Refuses jobs whose deadline has passed, and drops those that reach it.
#[derive(Debug, Clone)]
pub(super) struct Deadline<S>(S);

impl<S> Deadline<S> {
    pub(super) fn new(inner: S) -> Self {
        Self(inner)
    }
}

impl<S: Handler> Service<Job> for Deadline<S> {
    type Response = Bytes;
    type Error = Failure;
    type Future = BoxFuture<'static, Result<Bytes, Failure>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, job: Job) -> Self::Future {
        let deadline = job.deadline;
        if deadline <= Instant::now() {
            return Box::pin(async { Err(Failure::DeadlineExceeded) });
        }
        let work = self.0.call(job);
        Box::pin(async move {
            timeout_at(deadline, work)
                .await
                .unwrap_or(Err(Failure::DeadlineExceeded))
        })
    }
}
