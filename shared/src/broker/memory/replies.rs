//! The replies of one requester, inside one process.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::Store;
use crate::broker::{BrokerError, MAX_WAIT, ReplyStream};
use crate::message::{Reply, ReplyTo};

pub(super) struct MemoryReplies {
    pub(super) store: Arc<Store>,
    pub(super) reply_to: ReplyTo,
    pub(super) arrived: Arc<Notify>,
}

#[async_trait]
impl ReplyStream for MemoryReplies {
    async fn next(&mut self) -> Result<Vec<Reply>, BrokerError> {
        let first = async {
            loop {
                let arrived = self.arrived.notified();
                if let Some(mailbox) = self.store.lock().replies.get_mut(&self.reply_to)
                    && !mailbox.replies.is_empty()
                {
                    return mailbox.replies.drain(..).collect();
                }
                arrived.await;
            }
        };
        Ok(timeout(MAX_WAIT, first).await.unwrap_or_default())
    }

    async fn close(&mut self) -> Result<(), BrokerError> {
        let mut state = self.store.lock();
        let late = state.replies.remove(&self.reply_to);
        for reply in late.into_iter().flat_map(|mailbox| mailbox.replies) {
            state.kept.complete(&reply, false);
        }
        Ok(())
    }
}
