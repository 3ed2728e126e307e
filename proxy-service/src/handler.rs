//! One request, as the layers of the stack see it.

use bytes::Bytes;
use roundtrip::Request;
use roundtrip::observe::trace::Trace;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::Service;
use tower::util::BoxCloneSyncService;

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

/// Something that works on jobs: an operation, or a layer around one.
pub trait Handler:
    Service<Job, Response = Bytes, Error = Failure, Future: Send> + Clone + Send + Sync + 'static
{
}

impl<S> Handler for S where
    S: Service<Job, Response = Bytes, Error = Failure, Future: Send> + Clone + Send + Sync + 'static
{
}

/// A handler whose type does not matter.
pub type BoxHandler = BoxCloneSyncService<Job, Bytes, Failure>;
