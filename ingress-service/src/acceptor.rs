//! The accept loop: requests with a record, or with a key, go to the broker with both in one step. Whatever piled up
//! goes together; each gets an answer of its own.

use std::sync::Arc;

use roundtrip::BrokerError;
use roundtrip::batch::Batches;
use roundtrip::broker::{Acceptance, Accepted, BrokerErrorKind, Records};
use tokio::sync::oneshot;

use crate::publisher::{Retries, report};

/// The most requests of one call. Each is a script of its own: fewer than what is published plainly.
pub(crate) const MAX_BATCH: usize = 128;

/// A request to be accepted, and who wants to know what became of it.
#[derive(Debug)]
pub(crate) struct Application {
    pub(crate) acceptance: Acceptance,
    pub(crate) answer: oneshot::Sender<Result<Accepted, BrokerErrorKind>>,
}

/// Accepts until the last sender is gone and the queue is empty.
pub(crate) async fn run(records: Arc<dyn Records>, mut batches: Batches<Application>) {
    let mut batch = Vec::with_capacity(MAX_BATCH);
    while batches.next(&mut batch).await {
        // Whoever has gone before anything was sent wants no work done.
        batch.retain(|application| !application.answer.is_closed());
        let requests: Vec<_> = batch.iter().map(|application| application.acceptance.clone()).collect();
        let accepted = accept(records.as_ref(), &requests).await;
        if let Err(error) = &accepted {
            report(error, batch.len());
        }
        for (n, application) in batch.drain(..).enumerate() {
            let answer = accepted
                .as_ref()
                .map(|accepted| accepted[n])
                .map_err(|error| error.kind());
            let _ = application.answer.send(answer);
        }
    }
}

async fn accept(records: &dyn Records, requests: &[Acceptance]) -> Result<Vec<Accepted>, BrokerError> {
    let mut retries = Retries::new();
    loop {
        match records.accept(requests).await {
            Ok(accepted) => return Ok(accepted),
            Err(error) => retries.after(error).await?,
        }
    }
}
