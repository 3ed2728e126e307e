//! Deliveries after the first: which of them run now, and which only with nothing beside them. A suspect is
//! handed back until its turn comes, uncounted, so that nothing is blamed for what it only lay beside.

use std::time::Duration;

use roundtrip::Broker;
use roundtrip::broker::{BrokerError, Consumer, Delivery, Dropped, EntryId};

use crate::judge::Judge;
use crate::terminals::Held;

/// How many dropped entries are looked at to find one suspect.
const LOOK_AT: usize = 16;

/// What is needed to deliver again.
pub(crate) struct Again<'a> {
    pub(crate) broker: &'a dyn Broker,
    pub(crate) consumer: &'a Consumer,
    pub(crate) held: &'a Held,
    pub(crate) judge: &'a Judge,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Found {
    /// What runs now.
    pub(crate) deliveries: Vec<Delivery>,
    /// Whether there are some that must run alone.
    pub(crate) suspects: bool,
}

impl Again<'_> {
    /// What we were given and never saw. Nobody has run it, so it is the attempt it was.
    pub(crate) async fn recovered(&self, max: usize) -> Result<Found, BrokerError> {
        let lost = self.broker.recover(self.consumer, &self.held.entries(), max).await?;
        let found = self.sort_out(attempts(&lost, 0)).await?;
        if !found.deliveries.is_empty() {
            tracing::info!(
                count = found.deliveries.len(),
                "recovered deliveries whose claim had failed"
            );
        }
        Ok(found)
    }

    /// What others dropped, as one more attempt.
    pub(crate) async fn reclaimed(&self, lease: Duration, max: usize) -> Result<Found, BrokerError> {
        let found = self.sort_out(self.dropped(lease, max).await?).await?;
        if !found.deliveries.is_empty() {
            tracing::info!(
                count = found.deliveries.len(),
                "took over work that another worker dropped"
            );
        }
        Ok(found)
    }

    /// The first suspect among what others dropped. The rest is handed back to the next scan, whoever's it is.
    pub(crate) async fn one_suspect(&self, lease: Duration) -> Result<Option<Delivery>, BrokerError> {
        let dropped = self.dropped(lease, LOOK_AT).await?;
        let suspect = dropped
            .iter()
            .find(|(_, attempt)| self.judge.runs_alone(*attempt))
            .copied();
        let rest: Vec<EntryId> = dropped
            .iter()
            .filter(|one| Some(**one) != suspect)
            .map(|(entry, _)| *entry)
            .collect();
        self.broker.release(self.consumer, &rest).await?;
        let attempts = suspect.as_slice();
        Ok(self.broker.redeliver(self.consumer, attempts).await?.pop())
    }

    async fn dropped(&self, lease: Duration, max: usize) -> Result<Vec<(EntryId, u32)>, BrokerError> {
        let mut dropped = self.broker.reclaim(self.consumer, lease, max).await?;
        // Our own, when renewing failed for a lease: still at work here.
        let held = self.held.entries();
        dropped.retain(|one| !held.contains(&one.entry));
        Ok(attempts(&dropped, 1))
    }

    async fn sort_out(&self, attempts: Vec<(EntryId, u32)>) -> Result<Found, BrokerError> {
        let (suspects, now): (Vec<_>, Vec<_>) = attempts
            .into_iter()
            .partition(|(_, attempt)| self.judge.runs_alone(*attempt));
        let entries: Vec<EntryId> = suspects.iter().map(|(entry, _)| *entry).collect();
        self.broker.release(self.consumer, &entries).await?;
        Ok(Found {
            deliveries: self.broker.redeliver(self.consumer, &now).await?,
            suspects: !suspects.is_empty(),
        })
    }
}

/// The attempt that each would be.
fn attempts(dropped: &[Dropped], more: u32) -> Vec<(EntryId, u32)> {
    let attempt = |one: &Dropped| one.deliveries.saturating_add(more).max(1);
    dropped.iter().map(|one| (one.entry, attempt(one))).collect()
}
