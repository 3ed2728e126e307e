//! Wishes to end what is at work. They come over a subscription; what is written down is the truth, and is read
//! again whenever one may have been missed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use roundtrip::broker::{BrokerError, Change, ResultStore};
use roundtrip::process::listener::Listener;

use crate::terminals::Terminals;

/// How often what is written down is read, whatever was heard.
pub(crate) const FALLBACK: Duration = Duration::from_secs(5);

/// Tells work in hand to end.
pub(crate) struct CancelListener {
    pub(crate) records: Arc<dyn ResultStore>,
    pub(crate) terminals: Arc<Terminals>,
}

#[async_trait]
impl Listener for CancelListener {
    async fn hear(&self, changes: &[Change]) -> Result<(), BrokerError> {
        let held = self.terminals.in_flight();
        for change in changes {
            if let Change::Cancel(id) = change {
                held.cancel(&[*id]);
            }
        }
        if changes.contains(&Change::Missed) && held.len() > 0 {
            held.cancel(&self.records.cancelling(&held.requests()).await?);
        }
        Ok(())
    }
}

impl fmt::Debug for CancelListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelListener").finish_non_exhaustive()
    }
}
