//! One attempt does not use up the time of all.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout};
use tower::Service;

use crate::failure::Failure;
use crate::handler::{Handler, Job};

/// Ends an attempt after a time, or at the deadline.
#[derive(Debug, Clone)]
pub(super) struct AttemptTimeout<S> {
    inner: S,
    limit: Duration,
}

impl<S> AttemptTimeout<S> {
    pub(super) fn new(inner: S, limit: Duration) -> Self {
        Self { inner, limit }
    }
}

impl<S: Handler> Service<Job> for AttemptTimeout<S> {
    type Response = Bytes;
    type Error = Failure;
    type Future = BoxFuture<'static, Result<Bytes, Failure>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, job: Job) -> Self::Future {
        let left = job.deadline.saturating_duration_since(Instant::now());
        let attempt = timeout(self.limit.min(left), self.inner.call(job));
        // A caller with little time says nothing about the upstream.
        let over = match left < self.limit {
            true => Failure::DeadlineExceeded,
            false => Failure::AttemptTimeout,
        };
        Box::pin(async move { attempt.await.unwrap_or(Err(over)) })
    }
}
