//! Nobody works for a caller who is gone, nor until the last moment: the answer has a way back.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::Instant;
use tower::Service;

use crate::failure::Failure;
use crate::handler::{Handler, Job};

/// What is left of the budget for the answer's way back: the settlement, and its reader. A tenth of the budget where
/// that is less; and half of what is left where even that is less, as what is quick is still worth a try.
const WAY_BACK: Duration = Duration::from_millis(100);
const WAY_BACK_PART: u32 = 10;

/// Refuses jobs whose deadline has passed, and gives the others one that leaves the way back. It needs no timer: what
/// is inside makes no attempt, and no pause, that goes beyond.
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

    fn call(&mut self, mut job: Job) -> Self::Future {
        let left = job.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Box::pin(async { Err(Failure::DeadlineExceeded) });
        }
        let part = job.request.budget.as_duration() / WAY_BACK_PART;
        job.deadline -= WAY_BACK.min(part).min(left / 2);
        Box::pin(self.0.call(job))
    }
}
