//! Deliveries after the first: which of them run now, and which only with nothing beside them. A suspect is
//! handed back until its turn comes, uncounted, so that nothing is blamed for what it only lay beside.

pub(crate) mod attempts;
pub(crate) mod deadlines;
pub(crate) mod suspects;

use std::time::Duration;

use roundtrip::OperationName;
use roundtrip::broker::{BrokerError, Consumer, Delivery, EntryId, Queue};
use tokio_util::sync::CancellationToken;

use crate::executor::Executor;
use crate::in_flight::InFlight;
use crate::redelivery::attempts::{Attempt, Attempts};
use crate::redelivery::deadlines::{Deadlines, MAX_DUE, MAX_LOOKS};

/// How many dropped entries one scan brings to find one suspect.
const LOOK_AT: usize = 16;

/// How many scans go to find one suspect: each passes a part of what is pending, and the one that saw it is over.
const SCANS: usize = 8;

/// What is needed to deliver again.
pub(crate) struct Redelivery<'a> {
    pub(crate) queue: &'a dyn Queue,
    pub(crate) operation: OperationName,
    pub(crate) consumer: &'a Consumer,
    pub(crate) in_flight: &'a InFlight,
    pub(crate) executor: &'a Executor,
    pub(crate) deadlines: &'a mut Deadlines,
    pub(crate) attempts: &'a mut Attempts,
    pub(crate) stop: &'a CancellationToken,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// What runs now.
    pub(crate) deliveries: Vec<Delivery>,
    /// What is told that it has no time left, or that it was delivered too often. It needs no room.
    pub(crate) due: Vec<Delivery>,
    /// Whether there are some that must run alone.
    pub(crate) suspects: bool,
    /// Whether some that are ours did not come, or may not have been asked for: they are recovered next.
    pub(crate) missing: bool,
    /// What ended the search early. What was found before is in hand all the same.
    pub(crate) failed: Option<BrokerError>,
}

impl Redelivery<'_> {
    /// What we were given and never saw, as the attempt it was.
    pub(crate) async fn recovered(&mut self, max: usize) -> Result<Found, BrokerError> {
        let (lost, missing) = self.lost(max).await?;
        let found = self.sort_out(lost).await;
        if !found.deliveries.is_empty() {
            tracing::info!(
                count = found.deliveries.len(),
                "recovered deliveries whose claim had failed"
            );
        }
        Ok(Found {
            missing: found.missing || missing,
            ..found
        })
    }

    /// What others dropped, as one more attempt.
    pub(crate) async fn reclaimed(&mut self, lease: Duration, max: usize) -> Result<Found, BrokerError> {
        let dropped = self.dropped(lease, max).await?;
        let found = self.sort_out(dropped).await;
        if !found.deliveries.is_empty() {
            tracing::info!(
                count = found.deliveries.len(),
                "took over work that another worker dropped"
            );
        }
        Ok(found)
    }

    /// The first suspect among what others dropped. The rest is handed back to the next scan, whoever's it is.
    pub(crate) async fn one_suspect(&mut self, lease: Duration) -> Result<Option<Delivery>, BrokerError> {
        let (mut rest, mut suspect) = (Vec::new(), None);
        for _ in 0..SCANS {
            for one in self.dropped(lease, LOOK_AT).await? {
                match suspect.is_none() && self.executor.runs_alone(one.number) {
                    true => suspect = Some(one),
                    false => rest.push(one.entry),
                }
            }
            if suspect.is_some() || self.stop.is_cancelled() {
                break;
            }
        }
        self.release(&rest).await?;
        let delivered = self.redeliver(suspect.as_slice()).await?.pop();
        // It may be another's by now.
        self.attempts.forget(suspect.map(|suspect| suspect.entry));
        Ok(delivered)
    }

    /// Of what others dropped, what is to be told although there is no room for it. The rest is handed back.
    pub(crate) async fn due(&mut self, lease: Duration) -> Result<Found, BrokerError> {
        let dropped = self.dropped(lease, MAX_DUE).await?;
        Ok(self.only_due(&dropped).await)
    }

    /// The same of what we were given and never saw.
    pub(crate) async fn recovered_due(&mut self) -> Result<Found, BrokerError> {
        let (lost, missing) = self.lost(MAX_DUE).await?;
        let found = self.only_due(&lost).await;
        Ok(Found {
            missing: found.missing || missing,
            ..found
        })
    }

    /// And whether there may be more than were asked for.
    async fn lost(&mut self, max: usize) -> Result<(Vec<Attempt>, bool), BrokerError> {
        let lost = self
            .queue
            .recover(self.consumer, &self.in_flight.entries(self.operation), max)
            .await?;
        let is_all = lost.len() < max;
        Ok((self.attempts.recovered(&lost, is_all), !is_all))
    }

    async fn dropped(&mut self, lease: Duration, max: usize) -> Result<Vec<Attempt>, BrokerError> {
        let dropped = self.queue.reclaim(self.consumer, lease, max).await;
        let mut dropped = dropped.inspect_err(|_| self.attempts.missed())?;
        // Our own, when renewing failed for a lease: still at work here.
        let in_flight = self.in_flight.entries(self.operation);
        dropped.retain(|one| !in_flight.contains(&one.entry));
        Ok(self.attempts.dropped(&dropped))
    }

    async fn sort_out(&mut self, attempts: Vec<Attempt>) -> Found {
        let (suspects, now): (Vec<_>, Vec<_>) = attempts
            .into_iter()
            .partition(|one| self.executor.runs_alone(one.number));
        let mut found = self.only_due(&suspects).await;
        found.suspects = suspects.len() > found.due.len();
        if found.failed.is_none() {
            match self.redeliver(&now).await {
                Ok(deliveries) => {
                    found.missing |= deliveries.len() < now.len();
                    found.deliveries = deliveries;
                }
                Err(error) => found.failed = Some(error),
            }
        }
        found
    }

    /// What is due. The rest is handed back.
    async fn only_due(&mut self, attempts: &[Attempt]) -> Found {
        let mut found = Found::default();
        found.failed = self.look(attempts, &mut found).await.err();
        found
    }

    /// Hands back all but those that are due. A look delivers as often as it was, so it counts as nothing; and one at
    /// a time, as entries may be large. What is counted wrong stays ours until it had one.
    async fn look(&mut self, attempts: &[Attempt], found: &mut Found) -> Result<(), BrokerError> {
        let (mut rest, mut looks) = (Vec::new(), 0);
        for one in attempts {
            let is_wanted = one.is_miscounted || self.deadlines.are_worth_a_look(one.entry);
            let may_look = looks < MAX_LOOKS && !self.stop.is_cancelled();
            match (is_wanted, may_look) {
                (true, true) => {
                    looks += 1;
                    match self.look_into(*one).await? {
                        Some(due) => found.due.push(due),
                        None => rest.push(one.entry),
                    }
                }
                (true, false) if one.is_miscounted => found.missing = true,
                _ => rest.push(one.entry),
            }
        }
        self.release(&rest).await
    }

    /// The entry, if it is due.
    async fn look_into(&mut self, one: Attempt) -> Result<Option<Delivery>, BrokerError> {
        let uncounted = [(one.entry, one.number - 1)];
        let seen = self.queue.redeliver(self.consumer, &uncounted).await?.pop();
        let delivery = seen.map(|delivery| Delivery {
            attempt: one.number,
            ..delivery
        });
        if let Some(deadline) = delivery.as_ref().and_then(|delivery| self.executor.time_left(delivery)) {
            self.deadlines.note(one.entry, deadline);
            return Ok(None);
        }
        self.deadlines.forget(one.entry);
        self.attempts.forget([one.entry]);
        Ok(delivery)
    }

    async fn redeliver(&mut self, attempts: &[Attempt]) -> Result<Vec<Delivery>, BrokerError> {
        let attempts: Vec<_> = attempts.iter().map(|one| (one.entry, one.number)).collect();
        let deliveries = self.queue.redeliver(self.consumer, &attempts).await?;
        for delivery in &deliveries {
            self.deadlines.forget(delivery.receipt.entry);
            self.attempts.forget([delivery.receipt.entry]);
        }
        Ok(deliveries)
    }

    async fn release(&mut self, entries: &[EntryId]) -> Result<(), BrokerError> {
        self.queue.release(self.consumer, entries).await?;
        self.attempts.forget(entries.iter().copied());
        Ok(())
    }
}
