//! One request, as the layers of the stack see it.

use bytes::Bytes;
use roundtrip::Request;
use tokio::time::Instant;
use tower::Service;
use tower::util::BoxCloneSyncService;

use crate::classify::Failure;

/// A request to work on. Cheap to clone: its data is shared.
#[derive(Debug, Clone)]
pub struct Job {
    /// What was asked.
    pub request: Request,
    /// Which delivery this is; the first is 1.
    pub delivery: u32,
    /// When nobody waits for the answer any more.
    pub deadline: Instant,
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
