//! A panic is an answer, not the end of the worker.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt as _;

use crate::failure::Failure;
use crate::handler::{BoxHandler, Handler, Job};

/// Turns a handler's panic into [`Failure::Panicked`].
pub(super) struct CatchPanic {
    pub(super) inner: BoxHandler,
}

#[async_trait]
impl Handler for CatchPanic {
    async fn handle(&self, job: Job) -> Result<Bytes, Failure> {
        let id = job.request.id;
        // The call itself may panic, not only its future.
        let work = AssertUnwindSafe(async { self.inner.handle(job).await }).catch_unwind();
        work.await.unwrap_or_else(|panic| {
            let message = message(panic.as_ref());
            tracing::error!(request_id = %id, message, "the handler panicked");
            Err(Failure::Panicked { message })
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
