//! Changes of records, as they are told inside one process.

use async_trait::async_trait;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::broker::{BrokerError, Change, Changes};

pub(super) struct MemoryChanges(pub(super) broadcast::Receiver<Change>);

#[async_trait]
impl Changes for MemoryChanges {
    async fn next(&mut self) -> Result<Vec<Change>, BrokerError> {
        match self.0.recv().await {
            Ok(change) => Ok(vec![change]),
            Err(RecvError::Lagged(_)) => Ok(vec![Change::Missed]),
            // The store, and with it whoever could tell of a change, is gone.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
