//! Callers who hang up. With ON_DISCONNECT=cancel, what they asked for is ended where nobody can ask for it again.

use std::sync::Arc;

use roundtrip::CorrelationId;
use roundtrip::broker::{EntryId, ResultStore};
use roundtrip::process::logging::with_causes;
use tokio::sync::mpsc;

use crate::metrics::IngressMetrics;

/// Hang-ups that wait to be acted upon. What finds no room runs to its end.
const MAX_WAITING: usize = 4096;

pub(crate) type Disconnect = (CorrelationId, Option<EntryId>);

pub(crate) fn channel() -> (mpsc::Sender<Disconnect>, mpsc::Receiver<Disconnect>) {
    mpsc::channel(MAX_WAITING)
}

/// Cancels until the last sender is gone.
pub(crate) async fn run(
    records: Arc<dyn ResultStore>,
    mut disconnects: mpsc::Receiver<Disconnect>,
    metrics: IngressMetrics,
) {
    while let Some((id, entry)) = disconnects.recv().await {
        match records.cancel(id, entry).await {
            Ok(cancelled) => metrics.count_cancelled(cancelled),
            Err(error) => {
                tracing::debug!(request_id = %id, error = with_causes(&error), "work goes on for a caller who has gone");
            }
        }
    }
}
