//! The reply stream of one requester, through the weather.

use std::sync::MutexGuard;

use async_trait::async_trait;
use roundtrip::broker::{BrokerError, ReplyStream, ResultStore as _};
use roundtrip::{Reply, ReplyTo};
use tokio::time::sleep;

use super::{Link, pause, refused, unknown};
use crate::server::{LONG_PATIENCE, Unread};
use crate::weather::{Call, Fate};

/// The replies of one requester: handed out again until it comes back for the next.
pub(super) struct Replies {
    link: Link,
    reply_to: ReplyTo,
    inner: Box<dyn ReplyStream>,
    unread: Unread,
    /// How many of those unread were handed out, so that coming back for more trims them.
    handed_out: usize,
}

impl Replies {
    pub(super) fn of(link: &Link, reply_to: &ReplyTo) -> Self {
        let (inner, unread) = link.server.replies(reply_to);
        Self {
            link: link.clone(),
            reply_to: reply_to.clone(),
            inner,
            unread,
            handed_out: 0,
        }
    }

    fn unread(&self) -> MutexGuard<'_, Vec<Reply>> {
        self.unread.lock().expect("nothing panics with the replies")
    }
}

#[async_trait]
impl ReplyStream for Replies {
    async fn next(&mut self) -> Result<Vec<Reply>, BrokerError> {
        let fate = self.link.fate(Call::Replies);
        if fate == Fate::Refused {
            return Err(refused());
        }
        let trims = !matches!(fate, Fate::Twice | Fate::Unknown(None));
        if trims {
            let handed_out = std::mem::take(&mut self.handed_out);
            let mut unread = self.unread();
            // Who was away for long may find that all of them were adopted.
            let left = handed_out.min(unread.len());
            unread.drain(..left);
        }
        if self.unread().is_empty() {
            let more = self.inner.next().await?;
            self.unread().extend(more);
        }
        if let Fate::Unknown(_) = fate {
            sleep(LONG_PATIENCE).await;
            return Err(unknown());
        }
        if let Fate::Fine(before, after) = fate {
            pause(before + after).await;
        }
        let replies = self.unread().clone();
        self.handed_out = replies.len();
        for reply in &replies {
            self.link.server.log.note(reply.id, || {
                format!("its reply is read by {}", self.link.instance.name())
            });
        }
        Ok(replies)
    }

    async fn close(&mut self) -> Result<(), BrokerError> {
        // Also what was handed out last: nothing has said that it was taken care of.
        let left = std::mem::take(&mut *self.unread());
        self.link.server.memory.complete(&left).await?;
        self.link.server.forget(&self.reply_to);
        self.inner.close().await
    }
}
