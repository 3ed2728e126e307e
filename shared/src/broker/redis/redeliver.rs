//! Delivering entries again. Large entries are read one by one, with all the time they take, while the leases of the
//! whole call are renewed; an entry that cannot be read at all is delivered as malformed. So no entry comes back for
//! ever. See docs/adr/0019.

use std::collections::HashSet;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::GROUP;
use super::claim::{Taking, deliveries, is_stale, receipt, stale};
use super::codec::{self, Fields};
use super::errors::{misfit, refused};
use super::lease;
use super::portion::Portion;
use super::scripts;
use crate::broker::redis::connection::dedicated::{Handshake, Unread};
use crate::broker::redis::connection::resp::{Commands, Cursor};
use crate::broker::{BrokerError, Delivery, Position};

const REDELIVER: &str = "deliver again from the request stream";

/// How often an entry that comes too slowly is asked for, alone. Once may be the server's bad moment.
const TRIES: u32 = 3;

/// An entry, and which attempt it is.
type Attempt = (Position, u32);

impl Taking<'_> {
    /// Delivers, however long it takes. An error after some are there leaves the others out: they are recovered.
    pub(super) async fn redeliver(self, attempts: &[Attempt]) -> Result<Vec<Delivery>, BrokerError> {
        let mut all = pin!(self.all(attempts));
        loop {
            match timeout(self.lease / 3, &mut all).await {
                Ok(deliveries) => return deliveries,
                Err(_) => self.renew(attempts).await,
            }
        }
    }

    /// Nobody else does: what is not delivered yet is not in hand.
    async fn renew(self, attempts: &[Attempt]) {
        let entries: Vec<Position> = attempts.iter().map(|(entry, _)| *entry).collect();
        if let Err(error) = lease::renew(self.link, self.keys, self.clock, self.consumer, &entries).await {
            tracing::debug!(%error, "what is being read was not renewed");
        }
    }

    async fn all(self, mut attempts: &[Attempt]) -> Result<Vec<Delivery>, BrokerError> {
        let (mut all, mut given_up) = (Vec::new(), 0);
        while !attempts.is_empty() {
            let (these, rest) = attempts.split_at(self.reader.portion.of(attempts.len()));
            match self.some(these).await {
                Ok(found) => all.extend(found),
                Err(Unread::Cut(mut cut)) => {
                    self.reader.portion.cut();
                    given_up += u32::from(these.len() == 1);
                    tracing::warn!(count = these.len(), reason = %cut, "entries were not read to their end");
                    if these.len() > 1 || !(cut.too_large || given_up >= TRIES) {
                        continue;
                    }
                    all.extend(self.unread(these[0], &mut cut.head, cut.too_large));
                }
                Err(Unread::Failed(error)) if all.is_empty() => return Err(error),
                Err(Unread::Failed(error)) => {
                    tracing::warn!(%error, missing = attempts.len(), "not all was delivered again");
                    return Ok(all);
                }
            }
            (attempts, given_up) = (rest, 0);
        }
        Ok(all)
    }

    /// The script, `TIME`, and `XRANGE` for each, as one trip.
    /// <https://redis.io/docs/latest/commands/xclaim/>, <https://redis.io/docs/latest/commands/xrange/>
    async fn some(self, attempts: &[Attempt]) -> Result<Vec<Delivery>, Unread> {
        let (asked, limit) = (Instant::now(), Portion::limit(attempts.len()));
        let commands = self.commands(attempts);
        let lane = &self.reader.lane;
        let answer = lane.read(self.link, REDELIVER, Handshake::none, &commands, limit);
        let mut answer = match answer.await? {
            Ok(answer) => answer,
            // No stream or no group: nothing is anybody's.
            Err(error) if error.code() == "NOGROUP" => return Ok(Vec::new()),
            Err(error) => return Err(Unread::Failed(refused(REDELIVER, error))),
        };
        let (began, length) = (answer.began(), answer.length());
        // Renewed meanwhile: how long the answer took to come says nothing.
        if is_stale(asked, began, Duration::MAX) {
            return Err(Unread::Failed(stale(REDELIVER)));
        }
        let misread = || Unread::Failed(misfit(REDELIVER));
        let (ours, time) = read_ours(&mut answer).ok_or_else(misread)?;
        let mut found: Vec<(Position, u32, Fields)> = Vec::with_capacity(attempts.len());
        let mut deleted = Vec::new();
        for (entry, attempt) in attempts {
            let content = codec::read_range(&mut answer).ok_or_else(misread)?.pop();
            match content.filter(|_| ours.contains(entry)) {
                Some((_, fields)) => found.push((*entry, *attempt, fields)),
                None if ours.contains(entry) => deleted.push(*entry),
                None => {}
            }
        }
        self.reader.portion.came(found.len(), length);
        self.forget(&deleted).await;
        let ages = self.clock.ages(Some(time));
        Ok(deliveries(
            self.keys.operation(),
            self.consumer,
            began,
            &ages,
            found.into_iter(),
        ))
    }

    fn commands(self, attempts: &[Attempt]) -> Commands {
        let ids: Vec<String> = attempts.iter().map(|(entry, _)| entry.to_string()).collect();
        let mut commands = Commands::with_capacity(512 + ids.len() * 128);
        commands
            .begin(6 + 2 * ids.len())
            .arg("EVAL")
            .arg(scripts::REDELIVER.text)
            .number(1)
            .arg(self.keys.requests())
            .arg(GROUP)
            .arg(self.consumer.as_str());
        for (id, (_, attempt)) in ids.iter().zip(attempts) {
            commands.arg(id).number(u64::from(*attempt));
        }
        commands.begin(1).arg("TIME");
        for id in &ids {
            commands
                .begin(4)
                .arg("XRANGE")
                .arg(self.keys.requests())
                .arg(id)
                .arg(id);
        }
        commands
    }

    /// The delivery of an entry whose reading was given up: what came of it says at least whose it is.
    fn unread(self, (entry, attempt): Attempt, head: &mut Cursor, too_large: bool) -> Option<Delivery> {
        let (ours, _) = read_ours(head)?;
        head.list()?;
        let (_, fields, _) = ours.contains(&entry).then(|| codec::read_one(head))??;
        Some(Delivery {
            receipt: receipt(self.keys.operation(), self.consumer, entry, head.began()),
            attempt,
            waited: Duration::ZERO,
            content: Err(codec::unread_request(fields, too_large)),
        })
    }

    /// Entries that were deleted while they were pending.
    async fn forget(self, deleted: &[Position]) {
        if deleted.is_empty() {
            return;
        }
        tracing::warn!(
            count = deleted.len(),
            "claimed entries had been deleted from the stream"
        );
        let mut commands = Commands::default();
        commands
            .begin(3 + deleted.len())
            .arg("XACK")
            .arg(self.keys.requests())
            .arg(GROUP);
        for entry in deleted {
            commands.arg(entry.to_string());
        }
        let lane = &self.reader.lane;
        if let Err(error) = lane.run(self.link, REDELIVER, Handshake::none, &commands).await {
            tracing::debug!(%error, "deleted entries are still pending");
        }
    }
}

/// Reads which entries are ours, and the server's time.
fn read_ours(answer: &mut Cursor) -> Option<(HashSet<Position>, u64)> {
    let count = answer.list()?;
    let ids = (0..count).map(|_| Position::parse(&answer.text()?));
    let ours = ids.collect::<Option<_>>()?;
    Some((ours, codec::read_time(answer)?))
}
