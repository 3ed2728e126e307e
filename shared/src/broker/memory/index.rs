//! ResultStore in the orders in which they are asked for: by status, and by when they expire.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;

use tokio::time::Instant;

use crate::broker::Status;
use crate::message::CorrelationId;

#[derive(Debug, Default)]
pub(super) struct Index {
    by_status: HashMap<Status, BTreeSet<CorrelationId>>,
    by_expiry: BTreeSet<(Instant, CorrelationId)>,
}

impl Index {
    pub(super) fn add(&mut self, id: CorrelationId, status: Status, dies: Instant) {
        self.by_status.entry(status).or_default().insert(id);
        self.by_expiry.insert((dies, id));
    }

    pub(super) fn remove(&mut self, id: CorrelationId, status: Status, dies: Instant) {
        if let Some(ids) = self.by_status.get_mut(&status) {
            ids.remove(&id);
        }
        self.by_expiry.remove(&(dies, id));
    }

    /// Those of a status that are older than `before`, newest first.
    pub(super) fn older(
        &self,
        status: Status,
        before: Bound<CorrelationId>,
    ) -> impl Iterator<Item = CorrelationId> + use<'_> {
        let ids = self.by_status.get(&status).into_iter();
        ids.flat_map(move |ids| ids.range((Bound::Unbounded, before)).rev().copied())
    }

    /// The first that has expired, if any has.
    pub(super) fn expired(&self, now: Instant) -> Option<CorrelationId> {
        let (dies, id) = self.by_expiry.first()?;
        (*dies <= now).then_some(*id)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_status.values().all(BTreeSet::is_empty) && self.by_expiry.is_empty()
    }
}
