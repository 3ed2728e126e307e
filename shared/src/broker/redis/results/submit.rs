//! Publishing requests with their records: one script for each, all of it or nothing, with an outcome of its own. The
//! refusal of one request says nothing about the next.

use super::millis;
use crate::broker::redis::GROUP;
use crate::broker::redis::answers::{Count, List};
use crate::broker::redis::codec;
use crate::broker::redis::connection::dedicated::Dedicated;
use crate::broker::redis::connection::resp::{Commands, Cursor, Value};
use crate::broker::redis::connection::shared::Link;
use crate::broker::redis::errors::{ServerError, misfit, refused};
use crate::broker::redis::keys::Keys;
use crate::broker::redis::publish;
use crate::broker::redis::scripts;
use crate::broker::result_store::Accepted;
use crate::broker::{Acceptance, BrokerError, BrokerErrorKind, Durability, EntryId, Position, Retention};
use crate::message::CorrelationId;
use crate::operation::OperationName;

const OPERATION: &str = "publish with a record";

/// What became of each request.
type Outcomes = Vec<Result<Accepted, BrokerError>>;

pub(in crate::broker::redis) async fn submit(
    lane: &Dedicated,
    link: &Link,
    keys: &Keys,
    durability: Durability,
    retention: &Retention,
    requests: &[Acceptance],
) -> Result<Outcomes, BrokerError> {
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let mut commands = Commands::with_capacity(requests.len() * 4096);
    requests
        .iter()
        .for_each(|request| add_acceptance(&mut commands, keys, retention, request));
    if let Durability::Replicated(replicas) = durability {
        publish::wait_for(&mut commands, replicas.get());
    }
    let introduction = || {
        let requesters = requests.iter().map(|acceptance| &acceptance.request.reply_to);
        publish::introduction(keys, durability, requesters)
    };
    let mut answer = lane.run_each(link, OPERATION, introduction, &commands).await?;
    let mut outcomes: Outcomes = requests
        .iter()
        .map(|acceptance| read_outcome(acceptance.request.origin.operation, &mut answer))
        .collect();
    if let Durability::Replicated(replicas) = durability
        && outcomes.iter().any(is_new)
    {
        match publish::confirmed(&mut answer, replicas, OPERATION) {
            Ok(()) => {}
            Err(error) if error.may_have_applied() => fail_new(&mut outcomes, &error),
            Err(error) => take_back(link, keys, requests, &mut outcomes, &error).await,
        }
    }
    Ok(outcomes)
}

fn add_acceptance(commands: &mut Commands, keys: &Keys, retention: &Retention, acceptance: &Acceptance) {
    let Acceptance { request, key } = acceptance;
    let fingerprint = key.map_or_else(String::new, |key| hex(&key.fingerprint));
    commands.begin(3 + 7 + 9 + codec::request_arguments(request));
    commands.arg("EVAL").arg(scripts::SUBMIT.text).number(7);
    for name in keys.records() {
        commands.arg(name);
    }
    commands
        .arg(request.origin.operation.queue())
        .arg(claim_of(keys, acceptance));
    // Who repeats a call within its time finds it.
    let key_lives = millis(retention.keys).max(request.budget.as_millis());
    commands
        .arg(request.id.to_string())
        .number(request.budget.as_millis())
        .number(millis(retention.results))
        .number(retention.max_result as u64)
        .arg(fingerprint)
        .number(key_lives)
        .arg(request.reply_to.as_str());
    for part in codec::origin(&request.origin) {
        commands.arg(part);
    }
    codec::write_request(commands, request);
}

/// The key of an idempotency key's claim; the request stream stands in where there is none, and is not touched as one.
fn claim_of(keys: &Keys, acceptance: &Acceptance) -> String {
    let queue = || acceptance.request.origin.operation.queue().to_owned();
    let key = acceptance.key.as_ref();
    key.map_or_else(queue, |key| keys.claim(&hex(&key.name)))
}

/// `['as', entry]`, `['known', id]`, `['conflict']`, or an error, with which nothing was written.
fn read_outcome(operation: OperationName, answer: &mut Cursor) -> Result<Accepted, BrokerError> {
    match answer.next() {
        Some(Value::Error(text)) => Err(refused(OPERATION, ServerError::new(&text))),
        Some(Value::List(_)) => read_accepted(operation, answer).ok_or_else(|| misfit(OPERATION)),
        _ => Err(misfit(OPERATION)),
    }
}

fn read_accepted(operation: OperationName, answer: &mut Cursor) -> Option<Accepted> {
    match answer.text()?.as_ref() {
        b"as" => Position::parse(&answer.text()?).map(|at| Accepted::As(EntryId::of(operation, at))),
        b"known" => CorrelationId::parse(&answer.text()?).map(Accepted::Known),
        b"conflict" => Some(Accepted::Conflict),
        _ => None,
    }
}

fn is_new(outcome: &Result<Accepted, BrokerError>) -> bool {
    matches!(outcome, Ok(Accepted::As(_)))
}

fn fail_new(outcomes: &mut Outcomes, error: &BrokerError) {
    for outcome in outcomes.iter_mut().filter(|outcome| is_new(outcome)) {
        *outcome = Err(error.clone());
    }
}

/// What did not reach its tier of durability is taken back, so that nothing runs that was refused: entry, record and
/// claim in one step, so that nobody is told of a request that is not there any more.
async fn take_back(link: &Link, keys: &Keys, requests: &[Acceptance], outcomes: &mut Outcomes, refusal: &BrokerError) {
    const TAKE: &str = "take requests back that too few replicas have";
    let written = requests
        .iter()
        .zip(outcomes.iter())
        .filter_map(|(acceptance, outcome)| match outcome {
            Ok(Accepted::As(entry)) => Some((acceptance, *entry)),
            _ => None,
        });
    let written: Vec<_> = written.collect();
    let claims: Vec<_> = written
        .iter()
        .map(|(acceptance, _)| claim_of(keys, acceptance))
        .collect();
    let names: Vec<&str> = keys
        .records()
        .into_iter()
        .chain([keys.requests(), keys.counts()])
        .chain(claims.iter().map(String::as_str))
        .collect();
    let mut commands = scripts::TAKE_BACK.call(&names);
    commands.arg(GROUP);
    for (acceptance, entry) in &written {
        commands
            .arg(acceptance.request.id.to_string())
            .arg(entry.at.to_string());
    }
    // Whatever goes wrong here, the requests are in the stream: their outcome is unknown.
    let taken = match link.run::<List<Count>>(TAKE, &commands).await {
        Ok(List(taken)) => taken,
        Err(_) => Vec::new(),
    };
    let unknown = BrokerError::new(BrokerErrorKind::Unconfirmed, TAKE, refusal.clone());
    let new = outcomes.iter_mut().filter(|outcome| is_new(outcome));
    for (n, outcome) in new.enumerate() {
        let taken = matches!(taken.get(n), Some(Count(1)));
        *outcome = Err(if taken { refusal.clone() } else { unknown.clone() });
    }
}

fn hex(digest: &[u8; 32]) -> String {
    use std::fmt::Write as _;
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
