//! The table of requests in flight, to be measured by scripts/bench.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use prometheus::IntGauge;
use roundtrip::CorrelationId;

use crate::pending::{Outcome, Pending, PendingReply};

/// A table in which some requests wait all the time.
pub struct PendingTable {
    pending: Arc<Pending>,
    _waiting: Vec<PendingReply>,
}

impl PendingTable {
    /// A table in which the requests of these ids wait, with room for as many again and one more.
    ///
    /// # Panics
    /// Never: the gauge's name is well formed.
    #[must_use]
    pub fn with_waiting(ids: &[CorrelationId]) -> Self {
        let gauge = IntGauge::new("pending", "pending").expect("the name is well formed");
        let pending = Pending::new(2 * ids.len() + 1, gauge);
        Self {
            _waiting: ids.iter().filter_map(|id| pending.register(*id)).collect(),
            pending,
        }
    }

    /// One request's life in the table: it is registered, its reply comes, whoever waits takes it and leaves.
    /// `None` when the table is full or lost the reply.
    #[must_use]
    pub fn round(&self, id: CorrelationId, reply: Bytes) -> Option<Bytes> {
        let mut waits = self.pending.register(id)?;
        let _ = self.pending.complete(id, Outcome::Replied(Ok(reply)));
        match pin!(waits.outcome()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(Outcome::Replied(Ok(reply)))) => Some(reply),
            _ => None,
        }
    }
}
