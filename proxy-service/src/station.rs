//! Where the work on each operation is done, and the terminals that they share.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use roundtrip::broker::Broker;
use roundtrip::resilience::breaker::Breaker;
use roundtrip::{OperationName, Request};
use tokio::time::Instant;

use crate::failure::Failure;
use crate::handler::{BoxHandler, Job};
use crate::metrics::WorkerMetrics;
use crate::served::Served;
use crate::terminals::Terminals;

/// Where the work on one operation is done.
pub(crate) struct Station {
    pub(crate) operation: OperationName,
    /// With its resilience stack around it.
    pub(crate) handler: BoxHandler,
    pub(crate) upstream: Arc<Breaker>,
    /// The most terminals that it may take.
    pub(crate) share: usize,
    pub(crate) metrics: WorkerMetrics,
}

/// The stations of a process, and its terminals.
#[derive(Clone)]
pub struct Stations {
    pub(crate) terminals: Arc<Terminals>,
    pub(crate) all: Arc<[Station]>,
}

impl Stations {
    pub(crate) fn new(all: Arc<[Station]>, terminals: usize) -> Self {
        let terminals = Arc::new(Terminals::new(terminals));
        Self { terminals, all }
    }

    /// Works on one request at once, past the stream, in a terminal of its own; `None` when none is free.
    ///
    /// # Panics
    /// For an operation that is not served here.
    pub async fn work_on(&self, request: Request) -> Option<Result<Bytes, Failure>> {
        let _terminal = self.terminals.take_one_now()?;
        let deadline = Instant::now() + request.budget.as_duration();
        let station = self.of(request.origin.operation);
        Some(station.handler.handle(Job::new(request, deadline)).await)
    }

    /// Terminals at work, and terminals there are.
    #[must_use]
    pub fn occupancy(&self) -> (usize, usize) {
        (self.terminals.in_flight().len(), self.terminals.count())
    }

    /// The breaker around the upstream of an operation.
    ///
    /// # Panics
    /// For an operation that is not served here.
    #[must_use]
    pub fn upstream(&self, operation: OperationName) -> &Breaker {
        &self.of(operation).upstream
    }

    fn of(&self, operation: OperationName) -> &Station {
        let mut all = self.all.iter();
        all.find(|station| station.operation == operation)
            .expect("the operation is served by this process")
    }
}

impl Station {
    pub(crate) fn served(&self, broker: &dyn Broker) -> Served {
        Served {
            operation: self.operation,
            queue: broker.queue(self.operation),
            metrics: self.metrics.clone(),
        }
    }
}

impl fmt::Debug for Stations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stations")
            .field("terminals", &self.terminals)
            .finish_non_exhaustive()
    }
}
