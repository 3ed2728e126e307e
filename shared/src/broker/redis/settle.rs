//! Settling: reply, then acknowledge and delete, as one transaction, so that a crash repeats work instead
//! of losing it. The plain transaction serves whoever is certain to hold the delivery. Who is not, because
//! the lease may have passed on or an earlier try may have worked, asks first, in a script; so does what has
//! a record, which changes in the same step, and what ends as a dead letter, whose id the reply names.
//!
//! A reply does not make its stream (NOMKSTREAM): nobody would read, or remove, the stream of a requester that
//! is gone. Where it was missing, a second look decides whether its requester is.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use super::GROUP;
use super::codec::{self, Arguments};
use super::connection::Link;
use super::dead_letters;
use super::errors::refused;
use super::keys::Keys;
use super::lane::{Introduction, Lane};
use super::presence;
use super::records::{self, script};
use super::wire::{Commands, Cursor, Value};
use crate::broker::{BrokerError, BrokerErrorKind, EntryId, Settlement};
use crate::message::{Keep, Reply, ReplyTo};

const SETTLE: &str = "settle deliveries";

/// What a settlement takes, in bytes, about.
const ENVELOPE: usize = 512;

/// Settles one delivery, if it is still its consumer's, and tells its record.
const SETTLE_IF_STILL_OURS: &str = script!("records/settle.lua");

/// The entries whose settlement was sent and never confirmed. Empty while the connection is well.
#[derive(Debug, Default)]
pub(super) struct Unsure(Mutex<HashSet<EntryId>>);

impl Unsure {
    pub(super) async fn settle(
        &self,
        lane: &Lane,
        link: &Link,
        keys: &Keys,
        lease: Duration,
        settlements: &[Settlement],
    ) -> Result<(), BrokerError> {
        let (certain, by_script) = self.split(lease, settlements);
        // The plain transaction last: what comes after it could fail, and the whole batch be repeated, with
        // nothing left to say that it had worked.
        if !by_script.is_empty() {
            let outcome = run(lane, link, &scripts(keys, &by_script)).await;
            self.note(&by_script, &outcome);
            outcome?;
        }
        if certain.is_empty() {
            return Ok(());
        }
        let outcome = run(lane, link, &transaction(keys, &certain)).await;
        self.note(&certain, &outcome);
        let replies: Vec<_> = certain
            .iter()
            .filter_map(|settlement| settlement.reply.as_ref())
            .collect();
        if let Some(answer) = outcome? {
            for (requester, reply) in unwritten(answer, &replies) {
                // The request is settled: what fails here cannot be repeated by those who call.
                if let Err(error) = presence::reply_unless_gone(link, keys, requester, reply).await {
                    tracing::warn!(request_id = %reply.id, %error, "a reply had no stream, and was not written");
                }
            }
        }
        Ok(())
    }

    /// A worker renews its leases, so half of one leaves time to notice that it could not.
    fn split<'a>(&self, lease: Duration, all: &'a [Settlement]) -> (Vec<&'a Settlement>, Vec<&'a Settlement>) {
        let unsure = self.entries();
        all.iter().partition(|settlement| {
            settlement.dead_letter.is_none()
                && settlement.keep == Keep::No
                && settlement.receipt.claimed.elapsed() < lease / 2
                && !unsure.contains(&settlement.receipt.entry)
        })
    }

    fn note<T>(&self, settlements: &[&Settlement], outcome: &Result<T, BrokerError>) {
        let mut unsure = self.entries();
        let entries = settlements.iter().map(|settlement| settlement.receipt.entry);
        match outcome.as_ref().map_err(BrokerError::kind) {
            Err(BrokerErrorKind::Unconfirmed) => unsure.extend(entries),
            // It will be repeated, and whatever was unsure still is.
            Err(BrokerErrorKind::Unavailable | BrokerErrorKind::CircuitOpen | BrokerErrorKind::Loading) => {}
            _ if unsure.is_empty() => {}
            Ok(_) | Err(BrokerErrorKind::Rejected | BrokerErrorKind::GroupLost) => entries.for_each(|entry| {
                unsure.remove(&entry);
            }),
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashSet<EntryId>> {
        self.0.lock().expect("no code panics while it holds the set")
    }
}

/// The replies of a transaction whose stream was not there, by what EXEC answered: nil instead of an id.
fn unwritten<'a>(mut answer: Cursor, replies: &[&'a (ReplyTo, Reply)]) -> Vec<&'a (ReplyTo, Reply)> {
    // MULTI, each reply, XACK and XDEL answered that they were heard.
    (0..replies.len() + 3).for_each(|_| drop(answer.next()));
    answer.list();
    let missing = |_: &&&(ReplyTo, Reply)| answer.next() == Some(Value::Nil);
    replies.iter().filter(missing).copied().collect()
}

/// Runs what settles; `None` when a part of it failed inside its transaction.
async fn run(lane: &Lane, link: &Link, commands: &Commands) -> Result<Option<Cursor>, BrokerError> {
    match lane.try_run(link, SETTLE, Introduction::none, commands).await? {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.is_inside_transaction() => {
            // Redis rolls nothing back: the other commands took effect, so there is nothing to repeat.
            tracing::error!(%error, "a reply or dead letter was lost: its key holds something else than a stream");
            Ok(None)
        }
        Err(error) => Err(refused(SETTLE, error)),
    }
}

/// `MULTI`, `XADD` for each reply, one `XACK`, one `XDEL`, `EXEC`.
/// <https://redis.io/docs/latest/develop/using-commands/transactions/>
pub(super) fn transaction(keys: &Keys, settlements: &[&Settlement]) -> Commands {
    let mut commands = Commands::with_capacity(settlements.len() * ENVELOPE);
    commands.begin(1).arg("MULTI");
    for settlement in settlements {
        if let Some((reply_to, reply)) = &settlement.reply {
            commands.begin(4 + codec::REPLY_ARGUMENTS).arg("XADD");
            commands.arg(keys.replies(reply_to)).arg("NOMKSTREAM").arg("*");
            codec::write_reply(&mut commands, reply);
        }
    }
    let ids: Vec<String> = settlements
        .iter()
        .map(|settlement| settlement.receipt.entry.to_string())
        .collect();
    commands
        .begin(3 + ids.len())
        .arg("XACK")
        .arg(keys.requests())
        .arg(GROUP);
    ids.iter().for_each(|id| commands.push(id.as_bytes()));
    commands.begin(2 + ids.len()).arg("XDEL").arg(keys.requests());
    ids.iter().for_each(|id| commands.push(id.as_bytes()));
    commands.begin(1).arg("EXEC");
    commands
}

fn scripts(keys: &Keys, settlements: &[&Settlement]) -> Commands {
    let mut commands = Commands::default();
    let too_large = records::too_large_json();
    for settlement in settlements {
        let receipt = &settlement.receipt;
        // A script names all its keys; where there is no reply the request stream stands in and is not written to.
        let (mut reply_key, mut requester) = (keys.requests().to_owned(), "");
        let (mut id, mut outcome, mut data) = (String::new(), "", Cow::default());
        if let Some((reply_to, reply)) = &settlement.reply {
            if settlement.keep != Keep::Only {
                (reply_key, requester) = (keys.replies(reply_to), reply_to.as_str());
            }
            id = reply.id.to_string();
            (outcome, data) = codec::outcome(reply);
        }
        let letter = settlement.dead_letter.as_ref();
        let letter = letter.map_or_else(Vec::new, |letter| dead_letters::fields(receipt.entry, letter));
        commands.begin(3 + 10 + 8 + letter.len());
        commands.arg("EVAL").arg(SETTLE_IF_STILL_OURS).number(10);
        for name in keys.records() {
            commands.arg(name);
        }
        commands.arg(keys.requests()).arg(reply_key).arg(keys.dead_letters());
        commands.arg(keys.gone()).arg(keys.requesters());
        commands
            .arg(GROUP)
            .arg(receipt.consumer.as_str())
            .arg(receipt.entry.to_string())
            .arg(requester)
            .arg(id)
            .arg(outcome)
            .arg(&data)
            .arg(&too_large);
        letter.iter().for_each(|argument| commands.push(argument));
    }
    commands
}
