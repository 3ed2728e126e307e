//! Settling: reply, then acknowledge and delete, as one transaction, so that a crash repeats work instead of losing it.
//! The plain transaction serves settlements whose delivery is certainly still its consumer's. A script that asks first
//! serves the others: the lease may have passed on, an earlier try may have worked, a record changes in the same step,
//! somebody asked for the end, or a dead letter is written, whose id the reply names. A full server refuses the
//! transaction, as replies take memory; the script frees memory first.
//!
//! A reply does not make its stream (NOMKSTREAM): nobody would read, or remove, the stream of a requester that is gone.
//! Where the stream was missing, a second look decides whether its requester is gone; until then the reply is owed.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use super::GROUP;
use super::codec::{self, Arguments};
use super::counts::count_discards;
use super::dead_letters;
use super::errors::misfit;
use super::keys::Keys;
use super::scripts;
use super::transaction::executed;
use crate::broker::redis::connection::dedicated::{Dedicated, Handshake};
use crate::broker::redis::connection::resp::{Commands, Cursor, Value};
use crate::broker::redis::connection::shared::Link;
use crate::broker::redis::heartbeat;
use crate::broker::redis::results;
use crate::broker::{BrokerError, EntryId, Retention, Settlement};
use crate::message::{Keep, Reply, ReplyTo};

const SETTLE: &str = "settle deliveries";

/// What a settlement takes, in bytes, about.
const ENVELOPE: usize = 512;

/// What the script answers: the delivery was not its consumer's any more.
const ENDED_BEFORE: u64 = 0;

/// It was settled.
const ENDED: u64 = 1;

/// It was settled, and its reply could not be written, ever.
const LOST: u64 = 3;

/// What earlier settlements left open. Empty while the connection is well.
#[derive(Debug, Default)]
pub(super) struct Unsure {
    /// The entries whose settlement was sent and never confirmed.
    entries: Mutex<HashSet<EntryId>>,
    /// Replies of requests that are settled, whose stream was missing. Written before anything else is settled.
    owed: Mutex<Vec<(ReplyTo, Reply)>>,
}

/// What is needed to settle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settling<'a> {
    pub(super) lane: &'a Dedicated,
    pub(super) link: &'a Link,
    pub(super) keys: &'a Keys,
    pub(super) lease: Duration,
    pub(super) retention: &'a Retention,
}

impl Unsure {
    pub(super) async fn settle(&self, with: Settling<'_>, settlements: &[Settlement]) -> Result<(), BrokerError> {
        self.pay(with).await?;
        let (mut certain, by_script) = self.split(with.lease, settlements);
        certain.sort_by_key(|settlement| settlement.receipt.entry.operation);
        // The plain transaction last: what comes after it could fail, and the whole batch be repeated, with
        // nothing left to say that it had worked.
        self.settle_by_script(with, &by_script).await?;
        match self.settle_plainly(with, &certain).await {
            Err(error) if error.is_full() => self.settle_by_script(with, &certain).await,
            outcome => outcome,
        }
    }

    async fn settle_by_script(&self, with: Settling<'_>, settlements: &[&Settlement]) -> Result<(), BrokerError> {
        if settlements.is_empty() {
            return Ok(());
        }
        let mut commands = scripts(with, settlements);
        count_discards(&mut commands, settlements);
        let run = with.lane.run(with.link, SETTLE, Handshake::none, &commands);
        // One of them may have failed, and the others are settled.
        let mut answer = run.await.inspect_err(|_| self.unsure(settlements))?;
        let Some(lost) = read_lost(&mut answer, settlements.len()) else {
            self.unsure(settlements);
            return Err(misfit(SETTLE));
        };
        self.sure(settlements);
        say_lost(lost);
        Ok(())
    }

    async fn settle_plainly(&self, with: Settling<'_>, settlements: &[&Settlement]) -> Result<(), BrokerError> {
        if settlements.is_empty() {
            return Ok(());
        }
        let mut commands = transaction(with.keys, settlements);
        count_discards(&mut commands, settlements);
        let replies: Vec<_> = settlements
            .iter()
            .filter_map(|settlement| settlement.reply.as_ref())
            .collect();
        let run = with.lane.run_each(with.link, SETTLE, Handshake::none, &commands);
        let unwritten = match run
            .await
            .and_then(|answer| unwritten(answer, &replies, by_operation(settlements).count()))
        {
            Ok(unwritten) => unwritten,
            Err(error) => {
                if error.may_have_applied() {
                    self.unsure(settlements);
                }
                return Err(error);
            }
        };
        self.sure(settlements);
        if unwritten.is_empty() {
            return Ok(());
        }
        self.owed().extend(unwritten.into_iter().cloned());
        let paid = self.pay(with).await;
        if paid.is_err() {
            // The whole batch comes again, and is settled already.
            self.unsure(settlements);
        }
        paid
    }

    /// Writes the replies that are owed. Their requests are settled: nothing else would ever write them.
    async fn pay(&self, with: Settling<'_>) -> Result<(), BrokerError> {
        while let Some((requester, reply)) = self.next_owed() {
            heartbeat::reply_unless_gone(with.link, with.keys, with.retention, &requester, &reply).await?;
            // Written at least once; the first one counts.
            self.owed().retain(|(_, owed)| owed.id != reply.id);
        }
        Ok(())
    }

    fn next_owed(&self) -> Option<(ReplyTo, Reply)> {
        self.owed().first().cloned()
    }

    fn owed(&self) -> MutexGuard<'_, Vec<(ReplyTo, Reply)>> {
        self.owed.lock().expect("no code panics while it holds the list")
    }

    /// A worker renews its leases, so half of one leaves time to notice that it could not.
    fn split<'a>(&self, lease: Duration, all: &'a [Settlement]) -> (Vec<&'a Settlement>, Vec<&'a Settlement>) {
        let unsure = self.entries();
        all.iter().partition(|settlement| {
            !by_script_anyway(settlement)
                && settlement.receipt.claimed.elapsed() < lease / 2
                && !unsure.contains(&settlement.receipt.entry)
        })
    }

    /// Only what was settled is sure.
    fn sure(&self, settlements: &[&Settlement]) {
        let mut unsure = self.entries();
        if !unsure.is_empty() {
            settlements.iter().for_each(|settlement| {
                unsure.remove(&settlement.receipt.entry);
            });
        }
    }

    fn unsure(&self, settlements: &[&Settlement]) {
        let plain = settlements.iter().filter(|settlement| !by_script_anyway(settlement));
        self.entries().extend(plain.map(|settlement| settlement.receipt.entry));
    }

    fn entries(&self) -> MutexGuard<'_, HashSet<EntryId>> {
        self.entries.lock().expect("no code panics while it holds the set")
    }
}

/// What changes more than the stream, or names what it makes.
fn by_script_anyway(settlement: &Settlement) -> bool {
    settlement.dead_letter.is_some() || settlement.keep != Keep::No || settlement.end_was_asked_for
}

/// How many replies were lost, by what the script answered for so many settlements.
fn read_lost(answer: &mut Cursor, settlements: usize) -> Option<usize> {
    let mut lost = 0;
    for _ in 0..settlements {
        match answer.number()? {
            ENDED_BEFORE | ENDED => {}
            LOST => lost += 1,
            _ => return None,
        }
    }
    Some(lost)
}

/// The replies of a transaction whose stream was not there, by what EXEC answered: nil instead of an id. Redis rolls
/// nothing back: where one was refused, the others were written, and there is nothing to repeat.
///
/// # Errors
/// Why the transaction was not done at all.
fn unwritten<'a>(
    mut answer: Cursor,
    replies: &[&'a (ReplyTo, Reply)],
    operations: usize,
) -> Result<Vec<&'a (ReplyTo, Reply)>, BrokerError> {
    executed(SETTLE, &mut answer, replies.len() + 2 * operations)?;
    let (mut missing, mut lost) = (Vec::new(), 0);
    for reply in replies {
        match answer.next() {
            Some(Value::Text(_)) => {}
            Some(Value::Nil) => missing.push(*reply),
            Some(Value::Error(_)) => lost += 1,
            _ => return Err(misfit(SETTLE)),
        }
    }
    say_lost(lost);
    Ok(missing)
}

fn say_lost(lost: usize) {
    if lost > 0 {
        tracing::error!(lost, "replies were lost: their keys hold something else than a stream");
    }
}

/// `MULTI`, `XADD` for each reply, one `XACK` and one `XDEL` for each operation, `EXEC`.
/// <https://redis.io/docs/latest/develop/using-commands/transactions/>
pub(super) fn transaction(keys: &Keys, settlements: &[&Settlement]) -> Commands {
    let mut commands = Commands::with_capacity(settlements.len() * ENVELOPE);
    commands.begin(1).arg("MULTI");
    for settlement in settlements {
        if let Some((reply_to, reply)) = &settlement.reply {
            commands.begin(4 + codec::reply_arguments(reply)).arg("XADD");
            commands.arg(keys.replies(reply_to)).arg("NOMKSTREAM").arg("*");
            codec::write_reply(&mut commands, reply);
        }
    }
    for of_one in by_operation(settlements) {
        let ids: Vec<String> = of_one
            .iter()
            .map(|settlement| settlement.receipt.entry.at.to_string())
            .collect();
        let queue = of_one[0].receipt.entry.operation.queue();
        commands.begin(3 + ids.len()).arg("XACK").arg(queue).arg(GROUP);
        ids.iter().for_each(|id| commands.push(id.as_bytes()));
        commands.begin(2 + ids.len()).arg("XDEL").arg(queue);
        ids.iter().for_each(|id| commands.push(id.as_bytes()));
    }
    commands.begin(1).arg("EXEC");
    commands
}

fn scripts(with: Settling<'_>, settlements: &[&Settlement]) -> Commands {
    let (keys, retention) = (with.keys, with.retention);
    let mut commands = Commands::default();
    let too_large = results::too_large_json();
    for settlement in settlements {
        let receipt = &settlement.receipt;
        // A script names all its keys; where there is no reply the request stream stands in and is not written to.
        let queue = receipt.entry.operation.queue();
        let (mut reply_key, mut requester) = (queue.to_owned(), "");
        let (mut id, mut outcome, mut data) = (String::new(), "", Cow::default());
        let mut origin = ["", ""];
        if let Some((reply_to, reply)) = &settlement.reply {
            if settlement.keep != Keep::Only {
                (reply_key, requester) = (keys.replies(reply_to), reply_to.as_str());
            }
            id = reply.id.to_string();
            (outcome, data) = codec::outcome(reply);
            origin = codec::origin(&reply.origin);
        }
        let letter = settlement.dead_letter.as_ref();
        let letter = letter.map_or_else(Vec::new, |letter| dead_letters::fields(receipt.entry, letter));
        commands.begin(3 + 10 + 13 + letter.len());
        commands.arg("EVAL").arg(scripts::SETTLE.text).number(10);
        for name in keys.records() {
            commands.arg(name);
        }
        commands.arg(queue).arg(reply_key).arg(keys.dead_letters());
        commands.arg(keys.gone()).arg(keys.requesters());
        commands
            .arg(GROUP)
            .arg(receipt.consumer.as_str())
            .arg(receipt.entry.at.to_string())
            .arg(requester)
            .arg(id)
            .arg(outcome)
            .arg(&data)
            .arg(&too_large)
            .number(heartbeat::adopted_for(retention))
            .number(retention.max_result as u64)
            .arg(if settlement.may_have_begun { "1" } else { "" });
        origin.iter().for_each(|part| commands.push(part.as_bytes()));
        letter.iter().for_each(|argument| commands.push(argument));
    }
    commands
}

/// Those of each operation, if they are in the order of their operations.
fn by_operation<'a>(settlements: &'a [&'a Settlement]) -> impl Iterator<Item = &'a [&'a Settlement]> {
    settlements.chunk_by(|one, next| one.receipt.entry.operation == next.receipt.entry.operation)
}
