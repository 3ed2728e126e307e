//! A panic is an answer, not the end of the worker.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tower::Service;

use crate::failure::Failure;
use crate::handler::{Handler, Job};

/// Turns a handler's panic into [`Failure::Panicked`].
#[derive(Debug, Clone)]
pub(super) struct CatchPanic<S>(S);

impl<S> CatchPanic<S> {
    pub(super) fn new(inner: S) -> Self {
        Self(inner)
    }
}

impl<S: Handler> Service<Job> for CatchPanic<S> {
    type Response = Bytes;
    type Error = Failure;
    type Future = BoxFuture<'static, Result<Bytes, Failure>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, job: Job) -> Self::Future {
        let id = job.request.id;
        let mut handler = self.0.clone();
        // The call itself may panic, not only its future.
        let work = AssertUnwindSafe(async move { handler.call(job).await }).catch_unwind();
        Box::pin(async move {
            work.await.unwrap_or_else(|panic| {
                let message = message(panic.as_ref());
                tracing::error!(request_id = %id, message, "the handler panicked");
                Err(Failure::Panicked { message })
            })
        })
    }
}

/// The longest message kept, in characters.
const MAX_MESSAGE: usize = 1000;

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("it left no message").chars().take(MAX_MESSAGE).collect()
}
