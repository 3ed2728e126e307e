//! The operations of a worker: what each does with a request, and how it is treated. A registry erases their types
//! once.

pub mod weather;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use roundtrip::{Operation, OperationName};
use utoipa_axum::router::OpenApiRouter;

use crate::failure::Failure;
use crate::handler::{BoxHandler, Handler, Job};
use crate::station::Stations;

/// Work on the requests of an operation. Every call is one attempt: time limits, retries and the circuit breaker are
/// around it, so an implementation has none of its own.
#[async_trait]
pub trait Work: Operation {
    /// How its requests are treated.
    fn policy(&self) -> Policy {
        Policy::default()
    }

    /// Reads the data of an entry. Whoever publishes validates; this may be somebody else's entry.
    ///
    /// # Errors
    /// [`Failure::Invalid`], with what is wrong in words for callers.
    fn read(&self, data: &[u8]) -> Result<Self::Input, Failure> {
        serde_json::from_slice(data).map_err(|error| Failure::Invalid {
            detail: format!("the request's data does not fit the operation: {error}"),
        })
    }

    /// Does the work. Where its future is dropped, time ran out, or somebody ended the request.
    async fn work(&self, input: Self::Input, job: &Job) -> Result<Self::Output, Failure>;
}

/// How the requests of an operation are treated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// Attempts on a first delivery. A redelivery gets one: its worker died, perhaps of it.
    pub attempts: u32,
    /// How long one attempt may take; `None`: ATTEMPT_TIMEOUT.
    pub attempt_timeout: Option<Duration>,
    /// The part of the process' terminals that it may take, above 0 and up to 1; of any part at least one.
    pub share: f64,
}

impl Default for Policy {
    /// Three attempts, and all terminals.
    fn default() -> Self {
        Self {
            attempts: 3,
            attempt_timeout: None,
            share: 1.0,
        }
    }
}

/// Routes of an operation on the worker's own HTTP server.
type Routes = Arc<dyn Fn(&Stations) -> OpenApiRouter + Send + Sync>;

/// One operation, its types erased.
#[derive(Clone)]
pub(crate) struct Registered {
    pub(crate) name: OperationName,
    pub(crate) handler: BoxHandler,
    pub(crate) policy: Policy,
    pub(crate) routes: Option<Routes>,
}

/// The operations that a worker serves.
#[derive(Clone, Default)]
pub struct Operations(Vec<Registered>);

impl Operations {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// These, and another one.
    ///
    /// # Panics
    /// When there is one of this name already, or it is no name.
    #[must_use]
    pub fn with<W: Work>(self, work: W) -> Self {
        let policy = work.policy();
        self.with_handler(OperationName::of_operation::<W>(), Erased(work), policy)
    }

    /// The same with something that reads and writes JSON itself.
    ///
    /// # Panics
    /// When there is one of this name already.
    #[must_use]
    pub fn with_handler(mut self, name: OperationName, handler: impl Handler, policy: Policy) -> Self {
        assert!(self.names().all(|known| known != name), "{name} is registered twice");
        self.0.push(Registered {
            name,
            handler: Arc::new(handler),
            policy,
            routes: None,
        });
        self
    }

    /// Adds routes of the operation that was registered last to the worker's own HTTP server.
    #[must_use]
    pub fn with_routes(mut self, routes: impl Fn(&Stations) -> OpenApiRouter + Send + Sync + 'static) -> Self {
        if let Some(last) = self.0.last_mut() {
            last.routes = Some(Arc::new(routes));
        }
        self
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = OperationName> + '_ {
        self.0.iter().map(|registered| registered.name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Registered> {
        self.0.iter()
    }
}

impl fmt::Debug for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// Work as a handler: it reads and writes JSON.
#[must_use]
pub fn erased(work: impl Work) -> BoxHandler {
    Arc::new(Erased(work))
}

/// Work whose types do not matter.
struct Erased<W>(W);

#[async_trait]
impl<W: Work> Handler for Erased<W> {
    async fn handle(&self, job: Job) -> Result<Bytes, Failure> {
        let input = self.0.read(&job.request.data)?;
        let output = self.0.work(input, &job).await?;
        // As a panic it is a dead letter: the same input will meet the same mistake.
        let json = serde_json::to_vec(&output).map_err(|error| Failure::Panicked {
            message: format!("the output is no JSON: {error}"),
        })?;
        Ok(json.into())
    }
}
