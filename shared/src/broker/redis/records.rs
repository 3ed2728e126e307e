//! Records in Redis: a hash each, an index for each status, and what says when they expire. Each change is one
//! script. Who changes a record also says so on a channel, in the same step.

use std::time::Duration;

use redis::{Pipeline, Value};

use super::GROUP;
use super::codec::{self, Fields};
use super::connection::Link;
use super::keys::Keys;
use super::lane::Lane;
use super::script::{eval, one_number};
use super::wire::{Commands, Cursor};
use crate::broker::records::{Accepted, Begun, Cancelled, IdempotencyKey, Noted, Progress, Record, Status};
use crate::broker::records::{cancelled, too_large};
use crate::broker::{Acceptance, BrokerError, BrokerErrorKind, Durability, EntryId, Retention};
use crate::message::{Budget, CorrelationId, Fault, Reply};

/// A script that begins with what all scripts on records share.
macro_rules! script {
    ($file:literal) => {
        concat!(include_str!("records/common.lua"), include_str!($file))
    };
}
pub(super) use script;

const ACCEPT: &str = script!("records/accept.lua");
const KEEP: &str = script!("records/keep.lua");
const BEGIN: &str = script!("records/begin.lua");
const PROGRESS: &str = script!("records/progress.lua");
const FINISH: &str = script!("records/finish.lua");
const CANCEL: &str = script!("records/cancel.lua");
const SWEEP: &str = script!("records/sweep.lua");

/// How long a wish to cancel is remembered. No request lives longer.
const WISH: Duration = Budget::MAX;

/// What a script does not read of a record that is listed: everything but its result.
const SHOWN: [&str; 13] = [
    "status",
    "created",
    "started",
    "startedVersion",
    "finished",
    "finishedVersion",
    "expires",
    "attempts",
    "progress",
    "message",
    "progressVersion",
    "cancel",
    "version",
];

/// The fault for results that are too large, as scripts store it.
pub(super) fn too_large_json() -> Vec<u8> {
    serde_json::to_vec(&too_large()).expect("a fault has only text and numbers")
}

fn cancelled_json() -> Vec<u8> {
    serde_json::to_vec(&cancelled()).expect("a fault has only text and numbers")
}

pub(super) async fn accept(
    lane: &Lane,
    link: &Link,
    keys: &Keys,
    durability: Durability,
    retention: &Retention,
    requests: &[Acceptance],
) -> Result<Vec<Accepted>, BrokerError> {
    const OPERATION: &str = "publish with a record";
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let mut commands = Commands::with_capacity(requests.len() * 4096);
    requests
        .iter()
        .for_each(|request| add_acceptance(&mut commands, keys, retention, request));
    if let Durability::Replicated(replicas) = durability {
        super::publish::wait_for(&mut commands, replicas.get());
    }
    let introduction = || {
        let requesters = requests.iter().map(|acceptance| &acceptance.request.reply_to);
        super::publish::introduction(keys, durability, requesters)
    };
    let mut answer = lane.run(link, OPERATION, introduction, &commands).await?;
    let accepted: Vec<Accepted> = requests.iter().map_while(|_| read_accepted(&mut answer)).collect();
    if accepted.len() < requests.len() {
        let cause = "the answer does not fit the question";
        return Err(BrokerError::new(BrokerErrorKind::Unconfirmed, OPERATION, cause));
    }
    if let Durability::Replicated(replicas) = durability {
        let confirmed = answer.number().unwrap_or(0);
        if confirmed < u64::from(replicas.get()) {
            return Err(take_back(link, keys, requests, &accepted, confirmed, replicas.get()).await);
        }
    }
    Ok(accepted)
}

fn add_acceptance(commands: &mut Commands, keys: &Keys, retention: &Retention, acceptance: &Acceptance) {
    let Acceptance { request, key } = acceptance;
    let claim = key.map_or_else(|| keys.requests().to_owned(), |key| keys.claim(&hex(&key.name)));
    let fingerprint = key.map_or_else(String::new, |key| hex(&key.fingerprint));
    commands.begin(3 + 7 + 6 + codec::request_arguments(request));
    commands.arg("EVAL").arg(ACCEPT).number(7);
    for name in keys.records() {
        commands.arg(name);
    }
    commands.arg(keys.requests()).arg(claim);
    commands
        .arg(request.id.to_string())
        .number(request.budget.as_millis())
        .number(millis(retention.results))
        .number(retention.max_result as u64)
        .arg(fingerprint)
        .number(millis(retention.keys));
    codec::write_request(commands, request);
}

/// `['as', entry]`, `['known', id]` or `['conflict']`.
fn read_accepted(answer: &mut Cursor) -> Option<Accepted> {
    answer.list()?;
    match answer.text()?.as_ref() {
        b"as" => EntryId::parse(&answer.text()?).map(Accepted::As),
        b"known" => CorrelationId::parse(&answer.text()?).map(Accepted::Known),
        _ => Some(Accepted::Conflict),
    }
}

/// What did not reach its tier of durability is taken back, so that nothing runs that was refused.
async fn take_back(
    link: &Link,
    keys: &Keys,
    requests: &[Acceptance],
    accepted: &[Accepted],
    confirmed: u64,
    wanted: u32,
) -> BrokerError {
    const TAKE: &str = "take requests back that too few replicas have";
    let mut all = true;
    for (acceptance, accepted) in requests.iter().zip(accepted) {
        let Accepted::As(entry) = accepted else { continue };
        let id = acceptance.request.id;
        all &= matches!(cancel(link, keys, id, Some(*entry)).await, Ok(Cancelled::Done));
        all &= forget(link, keys, id, acceptance.key.as_ref()).await.is_ok();
    }
    let (kind, cause) = match all {
        true => (BrokerErrorKind::Unavailable, "taken back"),
        false => (BrokerErrorKind::Unconfirmed, "some had been claimed already"),
    };
    BrokerError::new(
        kind,
        TAKE,
        format!("{confirmed} of {wanted} replicas confirmed the write; {cause}"),
    )
}

/// Removes a record, and the claim of its key.
async fn forget(link: &Link, keys: &Keys, id: CorrelationId, key: Option<&IdempotencyKey>) -> Result<(), BrokerError> {
    let [records, index, expiry, ..] = keys.records();
    let id = id.to_string();
    let mut commands = Pipeline::with_capacity(9);
    commands.atomic().cmd("UNLINK").arg(format!("{records}{id}"));
    if let Some(key) = key {
        commands.arg(keys.claim(&hex(&key.name)));
    }
    for status in Status::ALL {
        commands.cmd("ZREM").arg(format!("{index}{status}")).arg(&id);
    }
    commands.cmd("ZREM").arg(expiry).arg(&id);
    link.run("remove a record", &commands).await.map(|_| ())
}

pub(super) async fn keep(
    link: &Link,
    keys: &Keys,
    retention: &Retention,
    id: CorrelationId,
    entry: Option<EntryId>,
    budget: Budget,
) -> Result<(), BrokerError> {
    let mut commands = on_records(KEEP, keys, &[keys.requests()]);
    commands
        .arg(id.to_string())
        .arg(entry.map_or_else(String::new, |entry| entry.to_string()))
        .arg(budget.as_millis())
        .arg(millis(retention.results))
        .arg(retention.max_result)
        .arg(GROUP);
    link.run("make a record", &commands).await.map(|_| ())
}

pub(super) async fn begin(link: &Link, keys: &Keys, id: CorrelationId, attempt: u32) -> Result<Begun, BrokerError> {
    let mut commands = on_records(BEGIN, keys, &[]);
    commands.arg(id.to_string()).arg(attempt);
    let over = link.run("begin a request", &commands).await?;
    Ok(if one_number(&over) == 0 { Begun::Go } else { Begun::Over })
}

pub(super) async fn note_progress(
    link: &Link,
    keys: &Keys,
    id: CorrelationId,
    progress: &Progress,
) -> Result<(), BrokerError> {
    let mut commands = on_records(PROGRESS, keys, &[]);
    commands
        .arg(id.to_string())
        .arg(progress.percent)
        .arg(&progress.message);
    link.run("note progress", &commands).await.map(|_| ())
}

pub(super) async fn finish(link: &Link, keys: &Keys, replies: &[Reply]) -> Result<usize, BrokerError> {
    if replies.is_empty() {
        return Ok(0);
    }
    let mut commands = on_records(FINISH, keys, &[]);
    commands.arg(too_large_json());
    for reply in replies {
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
    let finished = link.run("store results", &commands).await?;
    Ok(one_number(&finished) as usize)
}

/// <https://redis.io/docs/latest/commands/hgetall/>
pub(super) async fn records(
    link: &Link,
    keys: &Keys,
    ids: &[CorrelationId],
) -> Result<Vec<Option<Record>>, BrokerError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut commands = Pipeline::with_capacity(ids.len());
    for id in ids {
        commands.cmd("HGETALL").arg(keys.record(*id));
    }
    let Value::Array(answers) = link.run("read records", &commands).await? else {
        return Ok(vec![None; ids.len()]);
    };
    let read = |(id, answer): (&CorrelationId, Value)| match answer {
        Value::Array(items) => read_record(*id, &codec::pairs(items)),
        _ => None,
    };
    Ok(ids.iter().zip(answers).map(read).collect())
}

/// <https://redis.io/docs/latest/commands/zrevrangebylex/>
pub(super) async fn list(
    link: &Link,
    keys: &Keys,
    status: Option<Status>,
    before: Option<CorrelationId>,
    max: usize,
) -> Result<Vec<Record>, BrokerError> {
    let statuses = status.map_or_else(|| Status::ALL.to_vec(), |status| vec![status]);
    let newest = before.map_or_else(|| "+".to_owned(), |id| format!("({id}"));
    let [_, index, ..] = keys.records();
    let mut commands = Pipeline::with_capacity(statuses.len());
    for status in statuses {
        commands
            .cmd("ZREVRANGEBYLEX")
            .arg(format!("{index}{status}"))
            .arg(&newest)
            .arg("-")
            .arg("LIMIT")
            .arg(0)
            .arg(max);
    }
    let Value::Array(answers) = link.run("list records", &commands).await? else {
        return Ok(Vec::new());
    };
    let mut ids: Vec<CorrelationId> = answers.into_iter().flat_map(ids_in).collect();
    ids.sort_unstable_by(|one, other| other.cmp(one));
    ids.truncate(max);
    read_without_results(link, keys, &ids).await
}

async fn read_without_results(link: &Link, keys: &Keys, ids: &[CorrelationId]) -> Result<Vec<Record>, BrokerError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut commands = Pipeline::with_capacity(ids.len());
    for id in ids {
        commands.cmd("HMGET").arg(keys.record(*id)).arg(&SHOWN);
    }
    let Value::Array(answers) = link.run("read records", &commands).await? else {
        return Ok(Vec::new());
    };
    let read = |(id, answer): (&CorrelationId, Value)| {
        let Value::Array(values) = answer else { return None };
        let values = values.into_iter().map(codec::bulk);
        let named = SHOWN
            .iter()
            .zip(values)
            .filter_map(|(name, value)| Some(((*name).into(), value?)));
        // One that expired between the two commands is no more.
        read_record(*id, &named.collect())
    };
    Ok(ids.iter().zip(answers).filter_map(read).collect())
}

pub(super) async fn cancel(
    link: &Link,
    keys: &Keys,
    id: CorrelationId,
    entry: Option<EntryId>,
) -> Result<Cancelled, BrokerError> {
    let mut commands = on_records(CANCEL, keys, &[keys.requests()]);
    commands
        .arg(id.to_string())
        .arg(entry.map_or_else(String::new, |entry| entry.to_string()))
        .arg(GROUP)
        .arg(cancelled_json())
        .arg(keys.replies_of_anyone());
    let Value::Array(mut answers) = link.run("cancel a request", &commands).await? else {
        return Ok(Cancelled::Unknown);
    };
    let answer = answers.pop().and_then(codec::bulk).unwrap_or_default();
    Ok(match answer.as_ref() {
        b"done" => Cancelled::Done,
        b"asked" => Cancelled::Asked,
        other => Status::parse(other).map_or(Cancelled::Unknown, Cancelled::Ended),
    })
}

/// <https://redis.io/docs/latest/commands/zrange/>
pub(super) async fn cancelling(link: &Link, keys: &Keys) -> Result<Vec<CorrelationId>, BrokerError> {
    let [.., wishes] = keys.records();
    let mut commands = Pipeline::with_capacity(1);
    commands.cmd("ZRANGE").arg(wishes).arg(0).arg(-1);
    let Value::Array(mut answers) = link.run("read what is to be cancelled", &commands).await? else {
        return Ok(Vec::new());
    };
    Ok(answers.pop().map(ids_in).unwrap_or_default())
}

pub(super) async fn sweep(link: &Link, keys: &Keys) -> Result<usize, BrokerError> {
    let mut commands = on_records(SWEEP, keys, &[]);
    commands.arg(millis(WISH));
    for status in Status::ALL {
        commands.arg(status.as_str());
    }
    let gone = link.run("remove expired records", &commands).await?;
    Ok(one_number(&gone) as usize)
}

/// One script, with the names that all scripts on records take and others behind them; its arguments follow.
pub(super) fn on_records(script: &str, keys: &Keys, more: &[&str]) -> Pipeline {
    let mut commands = Pipeline::with_capacity(1);
    let names: Vec<&str> = keys.records().into_iter().chain(more.iter().copied()).collect();
    eval(&mut commands, script, &names);
    commands
}

fn ids_in(answer: Value) -> Vec<CorrelationId> {
    let Value::Array(items) = answer else {
        return Vec::new();
    };
    let texts = items.into_iter().filter_map(codec::bulk);
    texts.filter_map(|text| CorrelationId::parse(&text)).collect()
}

fn read_record(id: CorrelationId, fields: &Fields) -> Option<Record> {
    let text = |name: &str| codec::field(fields, name);
    let number = |name: &str| std::str::from_utf8(text(name)?).ok()?.parse::<u64>().ok();
    let noted = |at: &str, version: &str| {
        Some(Noted {
            at: number(at)?,
            version: number(version)?,
        })
    };
    let status = Status::parse(text("status")?)?;
    let progress = || {
        let message = text("message").map(|text| String::from_utf8_lossy(text));
        let progress = Progress::new(number("progress")?.min(100) as u8, &message.unwrap_or_default());
        Some((progress, number("progressVersion")?))
    };
    Some(Record {
        id,
        status,
        created: number("created")?,
        started: noted("started", "startedVersion"),
        finished: noted("finished", "finishedVersion"),
        expires: number("expires").unwrap_or_default(),
        attempts: number("attempts").unwrap_or_default() as u32,
        progress: progress(),
        cancel_requested: text("cancel").is_some(),
        version: number("version").unwrap_or(1),
        outcome: read_outcome(fields),
    })
}

fn read_outcome(fields: &Fields) -> Option<Result<bytes::Bytes, Fault>> {
    codec::read_outcome(
        codec::field(fields, "outcome")?,
        codec::field(fields, "data")?,
        codec::field(fields, codec::DEAD_LETTER),
    )
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

fn hex(digest: &[u8; 32]) -> String {
    use std::fmt::Write as _;
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
