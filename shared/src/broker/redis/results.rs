//! Records in Redis: a hash each, an index for each status, and one that says when something is due: its deadline while
//! it waits for a result, its expiry after that. Each change is one script. Who changes a record also says so on a
//! channel, in the same step.

mod read;
mod submit;

use std::time::Duration;

use bytes::Bytes;
use redis::Pipeline;

use super::GROUP;
use super::answers::{Count, List};
use super::codec;
use super::errors::misfit;
use super::keys::{Keys, counts_of};
use super::scripts;
use crate::broker::redis::connection::shared::Link;
use crate::broker::result_store::{CancelOutcome, Progress, Purged, Started, Status, cancelled, expired, too_large};
use crate::broker::{ABSENCE, BrokerError, EntryId, NewRecord, Retention};
use crate::message::{Budget, CorrelationId, Fault, Reply};
use crate::operation::OperationName;

pub(super) use read::{list, records};
pub(super) use submit::submit;

/// How long a wish to cancel is remembered where the request's deadline is not known. No request lives longer.
const WISH: Duration = Budget::MAX;

/// What names of queues end with, behind that of their operation.
const QUEUE: &str = "-requests";

/// The most requests of one question that are looked up among the wishes.
const MAX_ASKED: usize = 512;

/// The fault for results that are too large, as scripts store it.
pub(super) fn too_large_json() -> Vec<u8> {
    json(&too_large())
}

fn json(fault: &Fault) -> Vec<u8> {
    serde_json::to_vec(fault).expect("a fault has only text and numbers")
}

pub(super) async fn create(
    link: &Link,
    keys: &Keys,
    retention: &Retention,
    new: &NewRecord<'_>,
) -> Result<(), BrokerError> {
    let mut commands = scripts::CREATE.call_on_records(keys, &[new.origin.operation.queue()]);
    commands
        .arg(new.id.to_string())
        .arg(new.entry.map_or_else(String::new, |entry| entry.at.to_string()))
        .arg(new.budget.as_millis())
        .arg(millis(retention.results))
        .arg(retention.max_result)
        .arg(GROUP)
        .arg(new.requester.as_str())
        .arg(&codec::origin(new.origin));
    link.run::<Count>("make a record", &commands).await.map(|_| ())
}

pub(super) async fn start(link: &Link, keys: &Keys, id: CorrelationId, attempt: u32) -> Result<Started, BrokerError> {
    const BEGIN: &str = "begin a request";
    let mut commands = scripts::START.call_on_records(keys, &[]);
    commands.arg(id.to_string()).arg(attempt);
    match link.run(BEGIN, &commands).await? {
        Count(0) => Ok(Started::Proceed),
        Count(1) => Ok(Started::Ended),
        Count(_) => Err(misfit(BEGIN)),
    }
}

pub(super) async fn note_progress(
    link: &Link,
    keys: &Keys,
    id: CorrelationId,
    progress: &Progress,
) -> Result<(), BrokerError> {
    let mut commands = scripts::PROGRESS.call_on_records(keys, &[]);
    commands
        .arg(id.to_string())
        .arg(progress.percent)
        .arg(&progress.message);
    link.run::<Count>("note progress", &commands).await.map(|_| ())
}

/// Looks first which records wait for a result: mostly none, and then no result is sent for nothing.
pub(super) async fn complete(link: &Link, keys: &Keys, replies: &[Reply]) -> Result<usize, BrokerError> {
    const FIND: &str = "find what waits for results";
    if replies.is_empty() {
        return Ok(0);
    }
    let mut commands = Pipeline::with_capacity(replies.len());
    for reply in replies {
        commands.cmd("HGET").arg(keys.record(reply.id)).arg("status");
    }
    let statuses: Vec<Option<Bytes>> = link.run_all(FIND, &commands).await?;
    let waits = |status: Option<Bytes>| {
        let status = status.and_then(|name| Status::parse(&name));
        status.is_some_and(|status| !status.is_final())
    };
    let waiting: Vec<_> = replies
        .iter()
        .zip(statuses)
        .filter_map(|(reply, status)| waits(status).then_some(reply))
        .collect();
    if waiting.is_empty() {
        return Ok(0);
    }
    let mut commands = scripts::COMPLETE.call_on_records(keys, &[]);
    commands.arg(too_large_json());
    waiting.into_iter().for_each(|reply| add_reply(&mut commands, reply));
    let Count(finished) = link.run("store results", &commands).await?;
    Ok(finished as usize)
}

/// Stores results, also of requests without a record.
pub(super) async fn store(
    link: &Link,
    keys: &Keys,
    retention: &Retention,
    replies: &[Reply],
) -> Result<(), BrokerError> {
    if replies.is_empty() {
        return Ok(());
    }
    let mut commands = scripts::STORE.call_on_records(keys, &[]);
    commands
        .arg(too_large_json())
        .arg(millis(retention.results))
        .arg(retention.max_result);
    for reply in replies {
        add_reply(&mut commands, reply);
        commands.arg(&codec::origin(&reply.origin));
    }
    link.run::<Count>("store results", &commands).await.map(|_| ())
}

/// Id, outcome, data and dead letter of a reply.
fn add_reply(commands: &mut Pipeline, reply: &Reply) {
    let (outcome, data) = codec::outcome(reply);
    let letter = reply
        .outcome
        .as_ref()
        .err()
        .and_then(|fault| fault.dead_letter.as_deref());
    commands
        .arg(reply.id.to_string())
        .arg(outcome)
        .arg(data.as_ref())
        .arg(letter.unwrap_or_default());
}

/// Ends a request. Its record says in whose queue it is; where there is none, its entry does.
pub(super) async fn cancel(
    link: &Link,
    keys: &Keys,
    id: CorrelationId,
    entry: Option<EntryId>,
) -> Result<CancelOutcome, BrokerError> {
    const CANCEL: &str = "cancel a request";
    let mut commands = Pipeline::with_capacity(1);
    commands.cmd("HGET").arg(keys.record(id)).arg(codec::OPERATION);
    let named: Option<Bytes> = link.run(CANCEL, &commands).await?;
    let named = named.and_then(|name| OperationName::of(std::str::from_utf8(&name).ok()?).ok());
    let operation = named.or(entry.map(|entry| entry.operation));
    let operation = operation.unwrap_or_else(OperationName::first);
    let mut commands = scripts::CANCEL.call_on_records(keys, &[operation.queue(), &counts_of(operation)]);
    commands
        .arg(id.to_string())
        .arg(entry.map_or_else(String::new, |entry| entry.at.to_string()))
        .arg(GROUP)
        .arg(json(&cancelled()))
        .arg(keys.replies_of_anyone())
        .arg(millis(WISH));
    let answer: Bytes = link.run(CANCEL, &commands).await?;
    Ok(match answer.as_ref() {
        b"done" => CancelOutcome::Cancelled,
        b"asked" => CancelOutcome::Requested,
        other => Status::parse(other).map_or(CancelOutcome::Unknown, CancelOutcome::AlreadyFinished),
    })
}

/// Which of these requests somebody wants to end. `ZMSCORE` looks at no others, however many wishes there are.
/// <https://redis.io/docs/latest/commands/zmscore/>
pub(super) async fn cancelling(
    link: &Link,
    keys: &Keys,
    ids: &[CorrelationId],
) -> Result<Vec<CorrelationId>, BrokerError> {
    const ASK: &str = "read what is to be cancelled";
    let [.., wishes] = keys.records();
    let mut wanted = Vec::new();
    for some in ids.chunks(MAX_ASKED) {
        let mut commands = Pipeline::with_capacity(1);
        commands.cmd("ZMSCORE").arg(wishes);
        for id in some {
            commands.arg(id.to_string());
        }
        let List(scores) = link.run::<List<Option<Bytes>>>(ASK, &commands).await?;
        if scores.len() != some.len() {
            return Err(misfit(ASK));
        }
        let asked = some.iter().zip(scores).filter(|(_, score)| score.is_some());
        wanted.extend(asked.map(|(id, _)| *id));
    }
    Ok(wanted)
}

pub(super) async fn purge_expired(link: &Link, keys: &Keys) -> Result<Purged, BrokerError> {
    let mut commands =
        scripts::PURGE_EXPIRED.call_on_records(keys, &[OperationName::first().queue(), keys.requesters()]);
    commands
        .arg(GROUP)
        .arg(json(&expired()))
        .arg(keys.replies_of_anyone())
        .arg(millis(ABSENCE))
        .arg(QUEUE);
    for status in Status::ALL {
        commands.arg(status.as_str());
    }
    let (Count(removed), Count(ended)) = link.run("sweep records", &commands).await?;
    Ok(Purged {
        removed: removed as usize,
        ended: ended as usize,
    })
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}
