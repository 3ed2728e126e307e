//! Settling: reply, then acknowledge and delete, as one transaction, so that a crash repeats work instead
//! of losing it. The plain transaction serves whoever is certain to hold the delivery. Who is not, because
//! the lease may have passed on or an earlier try may have worked, asks first, in a script.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use redis::Pipeline;

use super::GROUP;
use super::codec::{self, Arguments};
use super::connection::Link;
use super::keys::Keys;
use super::lease::eval;
use crate::broker::{BrokerError, DeadLetter, EntryId, Settlement};

const SETTLE: &str = "settle deliveries";

/// KEYS: request stream, reply stream, dead letters. ARGV: group, consumer, entry, number of reply
/// arguments, number of dead letter arguments, then these.
const SETTLE_IF_STILL_OURS: &str = r"
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local held = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if held.err or #held == 0 or held[1][2] ~= ARGV[2] then return 0 end
local replies, letters = tonumber(ARGV[4]), tonumber(ARGV[5])
if replies > 0 then redis.call('XADD', KEYS[2], '*', unpack(ARGV, 6, 5 + replies)) end
if letters > 0 then redis.call('XADD', KEYS[3], '*', unpack(ARGV, 6 + replies, 5 + replies + letters)) end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
redis.call('XDEL', KEYS[1], ARGV[3])
return 1";

/// The entries whose settlement was sent and never confirmed. Empty while the connection is well.
#[derive(Debug, Default)]
pub(super) struct Unsure(Mutex<HashSet<EntryId>>);

impl Unsure {
    pub(super) async fn settle(
        &self,
        link: &Link,
        keys: &Keys,
        lease: Duration,
        settlements: &[Settlement],
    ) -> Result<(), BrokerError> {
        let (certain, doubtful) = self.split(lease, settlements);
        self.run(link, &certain, transaction(keys, &certain)).await?;
        self.run(link, &doubtful, scripts(keys, &doubtful)).await
    }

    /// A worker renews its leases, so half of one leaves time to notice that it could not.
    fn split<'a>(&self, lease: Duration, all: &'a [Settlement]) -> (Vec<&'a Settlement>, Vec<&'a Settlement>) {
        let unsure = self.entries();
        all.iter().partition(|settlement| {
            settlement.receipt.claimed.elapsed() < lease / 2 && !unsure.contains(&settlement.receipt.entry)
        })
    }

    async fn run(&self, link: &Link, settlements: &[&Settlement], commands: Pipeline) -> Result<(), BrokerError> {
        if settlements.is_empty() {
            return Ok(());
        }
        let outcome = link.run(SETTLE, &commands).await;
        let mut unsure = self.entries();
        match &outcome {
            Err(error) if error.may_have_applied() => {
                unsure.extend(settlements.iter().map(|settlement| settlement.receipt.entry));
            }
            Err(_) => {}
            Ok(_) if unsure.is_empty() => {}
            Ok(_) => settlements.iter().for_each(|settlement| {
                unsure.remove(&settlement.receipt.entry);
            }),
        }
        outcome.map(|_| ())
    }

    fn entries(&self) -> MutexGuard<'_, HashSet<EntryId>> {
        self.0.lock().expect("no code panics while it holds the set")
    }
}

/// `MULTI`, `XADD` for each reply and dead letter, one `XACK`, one `XDEL`, `EXEC`.
/// <https://redis.io/docs/latest/develop/using-commands/transactions/>
fn transaction(keys: &Keys, settlements: &[&Settlement]) -> Pipeline {
    let mut commands = Pipeline::with_capacity(settlements.len() + 2);
    commands.atomic();
    for settlement in settlements {
        if let Some((reply_to, reply)) = &settlement.reply {
            commands.cmd("XADD").arg(keys.replies(reply_to)).arg("*");
            codec::write_reply(&mut commands, reply);
            commands.ignore();
        }
        if let Some(letter) = &settlement.dead_letter {
            commands.cmd("XADD").arg(keys.dead_letters()).arg("*");
            write_dead_letter(&mut commands, settlement.receipt.entry, letter);
            commands.ignore();
        }
    }
    let ids: Vec<String> = settlements
        .iter()
        .map(|settlement| settlement.receipt.entry.to_string())
        .collect();
    commands.cmd("XACK").arg(keys.requests()).arg(GROUP).arg(&ids).ignore();
    commands.cmd("XDEL").arg(keys.requests()).arg(&ids).ignore();
    commands
}

fn scripts(keys: &Keys, settlements: &[&Settlement]) -> Pipeline {
    let mut commands = Pipeline::with_capacity(settlements.len());
    for settlement in settlements {
        let receipt = &settlement.receipt;
        let (mut reply, mut letter) = (Vec::new(), Vec::new());
        // A script names all its keys; without a reply the request stream stands in and is not written to.
        let mut reply_key = keys.requests().to_owned();
        if let Some((reply_to, content)) = &settlement.reply {
            reply_key = keys.replies(reply_to);
            codec::write_reply(&mut reply, content);
        }
        if let Some(content) = &settlement.dead_letter {
            write_dead_letter(&mut letter, receipt.entry, content);
        }
        eval(
            &mut commands,
            SETTLE_IF_STILL_OURS,
            &[keys.requests(), &reply_key, keys.dead_letters()],
        );
        commands
            .arg(GROUP)
            .arg(receipt.consumer.as_str())
            .arg(receipt.entry.to_string());
        commands.arg(reply.len()).arg(letter.len()).arg(reply).arg(letter);
    }
    commands
}

/// Ours first, then the entry's own fields as they were.
fn write_dead_letter(arguments: &mut impl Arguments, entry: EntryId, letter: &DeadLetter) {
    for (name, value) in [
        ("reason", letter.reason.as_str()),
        ("attempts", &letter.attempts.to_string()),
        ("entryId", &entry.to_string()),
    ] {
        arguments.push(name.as_bytes());
        arguments.push(value.as_bytes());
    }
    for (name, value) in &letter.fields {
        arguments.push(name);
        arguments.push(value);
    }
}
