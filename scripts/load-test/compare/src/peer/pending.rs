//! Callers who wait for a reply, by correlation id. An entry lives exactly as long as its [`Waiting`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::BoxError;

/// Who waits for what.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pending(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    next_id: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Bytes>>>,
}

/// One caller's place.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// The correlation id to send along.
    pub(crate) id: u64,
    reply: oneshot::Receiver<Bytes>,
    pending: Pending,
}

impl Pending {
    /// A place under a new correlation id.
    pub(crate) fn register(&self) -> Waiting {
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, reply) = oneshot::channel();
        self.waiting().insert(id, sender);
        let pending = self.clone();
        Waiting { id, reply, pending }
    }

    /// Hands `reply` to who waits for it; one that nobody waits for is dropped. `id` is as it came off the wire.
    pub(crate) fn answer(&self, id: &str, reply: Bytes) {
        let Ok(id) = id.parse() else { return };
        let sender = self.waiting().remove(&id);
        if let Some(sender) = sender {
            let _ = sender.send(reply);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Bytes>>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Waits for the reply.
    pub(crate) async fn reply(mut self) -> Result<Bytes, BoxError> {
        Ok((&mut self.reply).await?)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.pending.waiting().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn a_reply_reaches_the_caller_with_its_id() {
        let pending = Pending::default();
        let (first, second) = (pending.register(), pending.register());
        pending.answer(&second.id.to_string(), "second".into());
        pending.answer(&first.id.to_string(), "first".into());
        assert_eq!(first.reply().await.unwrap(), "first");
        assert_eq!(second.reply().await.unwrap(), "second");
    }

    #[test]
    fn dropping_a_caller_frees_its_entry() {
        let pending = Pending::default();
        drop(pending.register());
        pending.answer("0", "late".into());
        pending.answer("no id", "never asked for".into());
        assert!(pending.waiting().is_empty());
    }
}
