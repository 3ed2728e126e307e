//! One attempt does not use up the time of all.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::timeout;
use tower::Service;

use crate::classify::Failure;
use crate::job::{Handler, Job};

/// Ends an attempt after a time.
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
        let attempt = timeout(self.limit, self.inner.call(job));
        Box::pin(async move { attempt.await.unwrap_or(Err(Failure::AttemptTimeout)) })
    }
}
