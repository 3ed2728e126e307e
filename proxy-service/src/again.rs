//! Deliveries after the first: which of them run now, and which only with nothing beside them. A suspect is
//! handed back until its turn comes, uncounted, so that nothing is blamed for what it only lay beside.

use std::time::Duration;

use roundtrip::Broker;
use roundtrip::broker::{BrokerError, Consumer, Delivery, Dropped, EntryId};

use crate::due::{Deadlines, MAX_DUE};
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
    pub(crate) deadlines: &'a mut Deadlines,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Found {
    /// What runs now.
    pub(crate) deliveries: Vec<Delivery>,
    /// What is told that it has no time left, or that it was delivered too often. It needs no room.
    pub(crate) due: Vec<Delivery>,
    /// Whether there are some that must run alone.
    pub(crate) suspects: bool,
    /// Whether some that are ours did not come, or may not have been asked for: they are recovered next.
    pub(crate) missing: bool,
}

impl Again<'_> {
    /// What we were given and never saw. Nobody has run it, so it is the attempt it was.
    pub(crate) async fn recovered(&mut self, max: usize) -> Result<Found, BrokerError> {
        let lost = self.broker.recover(self.consumer, &self.held.entries(), max).await?;
        let mut found = self.sort_out(attempts(&lost, 0)).await?;
        // There may be more than were asked for.
        found.missing |= lost.len() == max;
        if !found.deliveries.is_empty() {
            tracing::info!(
                count = found.deliveries.len(),
                "recovered deliveries whose claim had failed"
            );
        }
        Ok(found)
    }

    /// What others dropped, as one more attempt.
    pub(crate) async fn reclaimed(&mut self, lease: Duration, max: usize) -> Result<Found, BrokerError> {
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

    /// Of what others dropped, what is to be told although there is no room for it. The rest is handed back.
    pub(crate) async fn due(&mut self, lease: Duration) -> Result<Vec<Delivery>, BrokerError> {
        let dropped = self.dropped(lease, MAX_DUE).await?;
        self.look(&dropped).await
    }

    async fn dropped(&self, lease: Duration, max: usize) -> Result<Vec<(EntryId, u32)>, BrokerError> {
        let mut dropped = self.broker.reclaim(self.consumer, lease, max).await?;
        // Our own, when renewing failed for a lease: still at work here.
        let held = self.held.entries();
        dropped.retain(|one| !held.contains(&one.entry));
        Ok(attempts(&dropped, 1))
    }

    async fn sort_out(&mut self, attempts: Vec<(EntryId, u32)>) -> Result<Found, BrokerError> {
        let (suspects, now): (Vec<_>, Vec<_>) = attempts
            .into_iter()
            .partition(|(_, attempt)| self.judge.runs_alone(*attempt));
        let due = self.look(&suspects).await?;
        let deliveries = self.broker.redeliver(self.consumer, &now).await?;
        Ok(Found {
            missing: deliveries.len() < now.len(),
            deliveries,
            suspects: suspects.len() > due.len(),
            due,
        })
    }

    /// Hands back all but those that are due. A look delivers as often as it was, so it counts as nothing; and one at
    /// a time, as entries may be large.
    async fn look(&mut self, dropped: &[(EntryId, u32)]) -> Result<Vec<Delivery>, BrokerError> {
        let mut due = Vec::new();
        for (entry, attempt) in self.deadlines.worth_a_look(dropped) {
            let seen = self.broker.redeliver(self.consumer, &[(entry, attempt - 1)]).await?;
            for delivery in seen {
                let delivery = Delivery { attempt, ..delivery };
                match self.judge.time_left(&delivery) {
                    Some(deadline) => self.deadlines.note(entry, deadline),
                    None => due.push(delivery),
                }
            }
        }
        let is_due = |entry: &EntryId| due.iter().any(|delivery| delivery.receipt.entry == *entry);
        let entries = dropped.iter().map(|(entry, _)| *entry);
        let rest: Vec<EntryId> = entries.filter(|entry| !is_due(entry)).collect();
        self.broker.release(self.consumer, &rest).await?;
        Ok(due)
    }
}

/// The attempt that each would be.
fn attempts(dropped: &[Dropped], more: u32) -> Vec<(EntryId, u32)> {
    let attempt = |one: &Dropped| one.deliveries.saturating_add(more).max(1);
    dropped.iter().map(|one| (one.entry, attempt(one))).collect()
}
