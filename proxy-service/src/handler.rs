//! One request, as the layers of the stack see it.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use roundtrip::Request;
use roundtrip::observe::trace::Trace;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::progress::Reporter;

/// A request to work on. Cheap to clone: its data is shared.
#[derive(Debug, Clone)]
pub struct Job {
    /// What was asked.
    pub request: Request,
    /// Which delivery this is; the first is 1.
    pub delivery: u32,
    /// When nobody waits for the answer any more; inside the stack a moment earlier, so that the answer is in time.
    pub deadline: Instant,
    /// Cancelled when somebody asked for the end of this job. A while (`CANCEL_GRACE`) later its future is dropped.
    pub cancelled: CancellationToken,
    /// Where to say how far it has come.
    pub progress: Reporter,
    /// Where it stands in a trace.
    pub trace: Trace,
}

impl Job {
    /// The first delivery of a request that nobody watches, or will end.
    #[must_use]
    pub fn new(request: Request, deadline: Instant) -> Self {
        Self {
            request,
            delivery: 1,
            deadline,
            cancelled: CancellationToken::new(),
            progress: Reporter::none(),
            trace: Trace::default(),
        }
    }
}

/// Something that works on jobs: an operation, a layer around one, or a function.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Works on a job. The work ends where its future is dropped.
    async fn handle(&self, job: Job) -> Result<Bytes, Failure>;
}

/// A handler whose type does not matter.
pub type BoxHandler = Arc<dyn Handler>;

#[async_trait]
impl<F, Work> Handler for F
where
    F: Fn(Job) -> Work + Send + Sync + 'static,
    Work: Future<Output = Result<Bytes, Failure>> + Send + 'static,
{
    async fn handle(&self, job: Job) -> Result<Bytes, Failure> {
        self(job).await
    }
}
