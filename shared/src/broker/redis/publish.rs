//! Appending requests. All of a batch or none: a transaction costs no more than a plain pipeline, and a
//! half-written batch could not be reported. What did not reach its tier of durability is taken back, so that
//! nothing runs that was refused.

use std::num::NonZeroU32;

use super::GROUP;
use super::answers::Count;
use super::codec;
use super::errors::{MISFIT, ServerError, misfit, refused, unconfirmed};
use super::keys::{Keys, counts_of};
use super::scripts;
use super::transaction::executed;
use crate::broker::redis::connection::dedicated::{Dedicated, Handshake};
use crate::broker::redis::connection::resp::{Commands, Cursor, Value};
use crate::broker::redis::connection::shared::{COMMAND_TIMEOUT, Link};
use crate::broker::redis::heartbeat;
use crate::broker::{BrokerError, BrokerErrorKind, Durability, EntryId, Position};
use crate::message::{ReplyTo, Request};

const PUBLISH: &str = "publish to the request stream";

/// What an encoded request takes beside its data, in bytes, about.
const ENVELOPE: usize = 320;

/// How long replicas may take to confirm, in milliseconds. Shorter than the time for a whole command.
const REPLICATION_TIMEOUT: u64 = COMMAND_TIMEOUT.as_millis() as u64 * 4 / 5;

/// Why nothing is accepted where a file is asked for.
pub(super) const AOF_MISSING: &str = "DURABILITY=aof, and the server keeps no append-only file (appendonly no)";

/// `XADD` without MAXLEN: trimming would lose requests that nobody has worked on.
/// <https://redis.io/docs/latest/commands/xadd/>
pub(super) async fn publish(
    lane: &Dedicated,
    link: &Link,
    keys: &Keys,
    durability: Durability,
    requests: &[Request],
) -> Result<Vec<EntryId>, BrokerError> {
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let mut commands = encode(requests);
    if let Durability::Replicated(replicas) = durability {
        wait_for(&mut commands, replicas.get());
    }
    let introduction = || introduction(keys, durability, requests.iter().map(|request| &request.reply_to));
    let mut answer = lane.run_each(link, PUBLISH, introduction, &commands).await?;
    let written = written(&mut answer, requests.len())?;
    let placed = |(request, at): (&Request, Position)| EntryId::of(request.origin.operation, at);
    let entries: Vec<EntryId> = requests.iter().zip(written).map(placed).collect();
    let Durability::Replicated(replicas) = durability else {
        return Ok(entries);
    };
    match confirmed(&mut answer, replicas, PUBLISH) {
        Ok(()) => Ok(entries),
        Err(error) if error.may_have_applied() => Err(error),
        Err(error) => {
            take_back(link, &entries).await?;
            Err(error)
        }
    }
}

/// What comes first on a new connection: the server may be another one, or may have lost everything.
pub(super) fn introduction<'a>(
    keys: &Keys,
    durability: Durability,
    requesters: impl Iterator<Item = &'a ReplyTo>,
) -> Handshake {
    let mut commands = Commands::default();
    if durability == Durability::Aof {
        commands.begin(2).arg("INFO").arg("persistence");
    }
    let mut requesters: Vec<_> = requesters.collect();
    requesters.dedup();
    for requester in requesters {
        heartbeat::make_stream(&mut commands, keys, requester);
    }
    Handshake {
        commands,
        accept: match durability {
            Durability::Aof => keeps_a_file,
            _ => |_| Ok(()),
        },
    }
}

/// <https://redis.io/docs/latest/commands/info/>
fn keeps_a_file(answer: &mut Cursor) -> Result<(), &'static str> {
    let info = answer.text().ok_or(MISFIT)?;
    match info
        .split(|byte| *byte == b'\n')
        .any(|line| line.starts_with(b"aof_enabled:1"))
    {
        true => Ok(()),
        false => Err(AOF_MISSING),
    }
}

/// <https://redis.io/docs/latest/commands/wait/>
pub(super) fn wait_for(commands: &mut Commands, replicas: u32) {
    commands
        .begin(3)
        .arg("WAIT")
        .number(u64::from(replicas))
        .number(REPLICATION_TIMEOUT);
}

/// Reads what WAIT answered. Too few replicas is a refusal, for whoever takes back what was written. Any error leaves
/// open what became of the write: the server may have been demoted while it waited.
pub(super) fn confirmed(answer: &mut Cursor, replicas: NonZeroU32, operation: &'static str) -> Result<(), BrokerError> {
    match answer.next() {
        Some(Value::Integer(count)) if count >= i64::from(replicas.get()) => Ok(()),
        Some(Value::Integer(count)) => {
            let cause = format!("{count} of {replicas} replicas confirmed the write; it was taken back");
            Err(BrokerError::new(BrokerErrorKind::Unavailable, operation, cause))
        }
        Some(Value::Error(text)) => Err(unconfirmed(operation, ServerError::new(&text))),
        _ => Err(misfit(operation)),
    }
}

/// Reads the ids from the answer of one XADD, or of a transaction of some, which is refused for its first error.
fn written(answer: &mut Cursor, count: usize) -> Result<Vec<Position>, BrokerError> {
    if count > 1 {
        executed(PUBLISH, answer, count)?;
    }
    let (mut entries, mut refusal) = (Vec::with_capacity(count), None);
    for _ in 0..count {
        match answer.next() {
            Some(Value::Error(text)) => {
                refusal.get_or_insert(text);
            }
            Some(Value::Text(id)) => entries.extend(Position::parse(&id)),
            _ => {}
        }
    }
    match refusal {
        Some(text) => Err(refused(PUBLISH, ServerError::new(&text))),
        None if entries.len() < count => Err(misfit(PUBLISH)),
        None => Ok(entries),
    }
}

async fn take_back(link: &Link, entries: &[EntryId]) -> Result<(), BrokerError> {
    const TAKE: &str = "take requests back that too few replicas have";
    // Whatever goes wrong here, the requests are in the stream: their outcome is unknown.
    let unknown =
        |cause: Box<dyn std::error::Error + Send + Sync>| BrokerError::new(BrokerErrorKind::Unconfirmed, TAKE, cause);
    let mut taken = 0;
    for of_one in entries.chunk_by(|one, next| one.operation == next.operation) {
        let operation = of_one[0].operation;
        let mut commands = scripts::UNPUBLISH.call(&[operation.queue(), &counts_of(operation)]);
        commands.arg(GROUP);
        for entry in of_one {
            commands.arg(entry.at.to_string());
        }
        let Count(some) = link.run(TAKE, &commands).await.map_err(|error| unknown(error.into()))?;
        taken += some;
    }
    match taken == entries.len() as u64 {
        true => Ok(()),
        false => Err(unknown("some had been claimed already".into())),
    }
}

pub(super) fn encode(requests: &[Request]) -> Commands {
    let size = requests.iter().map(|request| request.data.len() + ENVELOPE).sum();
    let mut commands = Commands::with_capacity(size);
    match requests {
        // One command is all or none by itself.
        [request] => add(&mut commands, request),
        requests => {
            commands.begin(1).arg("MULTI");
            requests.iter().for_each(|request| add(&mut commands, request));
            commands.begin(1).arg("EXEC");
        }
    }
    commands
}

fn add(commands: &mut Commands, request: &Request) {
    commands
        .begin(3 + codec::request_arguments(request))
        .arg("XADD")
        .arg(request.origin.operation.queue())
        .arg("*");
    codec::write_request(commands, request);
}
