//! Records in the orders in which they are asked for: of a tenant, by status, and by when they expire.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;

use tokio::time::Instant;

use crate::broker::{Record, RecordPage, Status};
use crate::message::{CorrelationId, Tenant};

#[derive(Debug, Default)]
pub(super) struct Index {
    by_tenant: HashMap<Tenant, HashMap<Status, BTreeSet<CorrelationId>>>,
    by_expiry: BTreeSet<(Instant, CorrelationId)>,
}

impl Index {
    pub(super) fn add(&mut self, record: &Record, dies: Instant) {
        let by_status = self.by_tenant.entry(record.origin.tenant.clone()).or_default();
        by_status.entry(record.status).or_default().insert(record.id);
        self.by_expiry.insert((dies, record.id));
    }

    pub(super) fn remove(&mut self, record: &Record, dies: Instant) {
        self.remove_with(record, record.status, dies);
    }

    /// Removes a record that had another status when it was added.
    pub(super) fn remove_with(&mut self, record: &Record, status: Status, dies: Instant) {
        self.by_expiry.remove(&(dies, record.id));
        let Some(by_status) = self.by_tenant.get_mut(&record.origin.tenant) else {
            return;
        };
        if let Some(ids) = by_status.get_mut(&status) {
            ids.remove(&record.id);
        }
        by_status.retain(|_, ids| !ids.is_empty());
        if by_status.is_empty() {
            self.by_tenant.remove(&record.origin.tenant);
        }
    }

    /// Those that a page may hold, newest first.
    pub(super) fn older(&self, page: &RecordPage<'_>) -> impl Iterator<Item = CorrelationId> + use<'_> {
        let before = page.before.map_or(Bound::Unbounded, Bound::Excluded);
        let wanted = |status: &Status| page.status.is_none_or(|wanted| wanted == *status);
        let by_status = self.by_tenant.get(page.tenant).into_iter().flatten();
        let mut newest: Vec<_> = by_status
            .filter(|(status, _)| wanted(status))
            .map(|(_, ids)| ids.range((Bound::Unbounded, before)).rev().copied().peekable())
            .collect();
        std::iter::from_fn(move || {
            let next = (0..newest.len()).max_by_key(|at| newest[*at].peek().copied())?;
            newest[next].next()
        })
    }

    /// The first that has expired, if any has.
    pub(super) fn expired(&self, now: Instant) -> Option<CorrelationId> {
        let (dies, id) = self.by_expiry.first()?;
        (*dies <= now).then_some(*id)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_tenant.is_empty() && self.by_expiry.is_empty()
    }
}
