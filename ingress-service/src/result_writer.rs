//! Results of requests with a record that came as replies. A worker that knows nothing of records tells only the
//! requester, so that the requester tells the record; of any other worker the record knows already, and a look is all
//! it costs.

use std::sync::Arc;

use roundtrip::Reply;
use roundtrip::broker::ResultStore;
use roundtrip::process::logging::with_causes;
use tokio::sync::mpsc;

/// Results that wait to be noted. What finds no room is ended as expired one day: the caller has its answer.
const MAX_WAITING: usize = 1024;

/// The most ends of one call.
const MAX_BATCH: usize = 64;

/// Where ends are noted.
#[derive(Debug, Clone)]
pub(crate) struct ResultWriter(mpsc::Sender<Reply>);

impl ResultWriter {
    pub(crate) fn channel() -> (Self, mpsc::Receiver<Reply>) {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        (Self(sender), receiver)
    }

    /// Tells the record of a request how it ended, soon.
    pub(crate) fn note(&self, reply: Reply) {
        let _ = self.0.try_send(reply);
    }
}

/// Tells records until the last sender is gone.
pub(crate) async fn run(records: Arc<dyn ResultStore>, mut ends: mpsc::Receiver<Reply>) {
    let mut batch = Vec::with_capacity(MAX_BATCH);
    while ends.recv_many(&mut batch, MAX_BATCH).await > 0 {
        if let Err(error) = records.complete(&batch).await {
            tracing::debug!(
                error = with_causes(&error),
                count = batch.len(),
                "records were not told of their ends"
            );
        }
        batch.clear();
    }
}
