//! The stream of dead letters. Each entry begins with fields of ours; behind them stand the fields of the request that
//! was given up, unchanged.

use redis::Pipeline;

use super::answers::{Count, List, Pairs};
use super::codec::{self, Fields};
use super::keys::Keys;
use super::scripts;
use crate::broker::redis::connection::shared::Link;
use crate::broker::{BrokerError, DeadLetter, EntryId, LetterId, Position, Replayed, StoredLetter};
use crate::operation::OperationName;

const READ: &str = "read dead letters";
const REPLAY: &str = "replay a dead letter";

const REASON: &str = "reason";
const ATTEMPTS: &str = "attempts";
const ENTRY_ID: &str = "entryId";
const LAST_ERROR: &str = "lastError";

/// How many fields of a letter are ours.
const OURS: usize = 4;

/// A letter as the arguments of XADD.
pub(super) fn fields(entry: EntryId, letter: &DeadLetter) -> Vec<Vec<u8>> {
    let ours: [(&str, String); OURS] = [
        (REASON, letter.reason.clone()),
        (ATTEMPTS, letter.attempts.to_string()),
        (ENTRY_ID, entry.to_string()),
        (LAST_ERROR, letter.last_error.clone()),
    ];
    let ours = ours
        .into_iter()
        .flat_map(|(name, value)| [name.as_bytes().to_vec(), value.into_bytes()]);
    let theirs = letter
        .fields
        .iter()
        .flat_map(|(name, value)| [name.to_vec(), value.to_vec()]);
    ours.chain(theirs).collect()
}

/// Reads a letter; what somebody wrote by hand is shown as it is.
/// The operation, and where in its queue, that a letter names.
fn read_entry(text: &[u8]) -> (Option<OperationName>, Option<Position>) {
    let text = std::str::from_utf8(text).unwrap_or_default();
    let (operation, at) = text.split_once('/').unwrap_or(("", text));
    (OperationName::of(operation).ok(), Position::parse(at.as_bytes()))
}

fn letter(id: Position, mut fields: Fields) -> StoredLetter {
    let names = fields.iter().map(|(name, _)| name.as_ref());
    let is_ours = names
        .take(OURS)
        .eq([REASON, ATTEMPTS, ENTRY_ID, LAST_ERROR].map(str::as_bytes));
    let ours: Fields = if is_ours {
        fields.drain(..OURS).collect()
    } else {
        Vec::new()
    };
    let text = |at: usize| ours.get(at).map_or(&b""[..], |(_, value)| value);
    let owned = |at: usize| String::from_utf8_lossy(text(at)).into_owned();
    let (operation, entry) = read_entry(text(2));
    let operation = operation.unwrap_or_else(|| codec::operation(&fields));
    StoredLetter {
        id: LetterId::of(id),
        operation,
        entry,
        reason: owned(0),
        attempts: owned(1).parse().unwrap_or_default(),
        last_error: owned(3),
        replayable: codec::read_request(operation, fields.clone()).is_ok(),
        fields,
    }
}

/// <https://redis.io/docs/latest/commands/xrevrange/>
pub(super) async fn letters(
    link: &Link,
    keys: &Keys,
    before: Option<LetterId>,
    max: usize,
) -> Result<Vec<StoredLetter>, BrokerError> {
    // Redis takes nothing for older than the first id there can be, and says so with an error.
    if max == 0 || before.is_some_and(|before| before.at == Position::default()) {
        return Ok(Vec::new());
    }
    let newest = before.map_or_else(|| "+".to_owned(), |id| format!("({}", id.at));
    let mut commands = Pipeline::with_capacity(1);
    commands
        .cmd("XREVRANGE")
        .arg(&[keys.dead_letters(), &newest, "-", "COUNT"])
        .arg(max);
    read(link, &commands).await
}

pub(super) async fn by_id(link: &Link, keys: &Keys, id: LetterId) -> Result<Option<StoredLetter>, BrokerError> {
    let mut commands = Pipeline::with_capacity(1);
    let id = id.at.to_string();
    commands.cmd("XRANGE").arg(&[keys.dead_letters(), &id, &id]);
    Ok(read(link, &commands).await?.pop())
}

async fn read(link: &Link, commands: &Pipeline) -> Result<Vec<StoredLetter>, BrokerError> {
    let List(entries) = link.run::<List<(Position, Pairs)>>(READ, commands).await?;
    Ok(entries
        .into_iter()
        .map(|(id, Pairs(fields))| letter(id, fields))
        .collect())
}

pub(super) async fn replay(link: &Link, keys: &Keys, id: LetterId) -> Result<Replayed, BrokerError> {
    let Some(found) = by_id(link, keys, id).await? else {
        return Ok(Replayed::Unknown);
    };
    if !found.replayable {
        return Ok(Replayed::Malformed);
    }
    // How many are not ours was found out above, and an entry never changes.
    let theirs = 2 * found.fields.len();
    let mut commands = scripts::REPLAY.call_on_records(keys, &[keys.dead_letters(), found.operation.queue()]);
    commands.arg(id.at.to_string()).arg(theirs);
    let entry: Option<Position> = link.run(REPLAY, &commands).await?;
    let entry = entry.map(|at| EntryId::of(found.operation, at));
    Ok(entry.map_or(Replayed::Unknown, Replayed::As))
}

/// <https://redis.io/docs/latest/commands/xdel/>
pub(super) async fn discard(link: &Link, keys: &Keys, id: LetterId) -> Result<bool, BrokerError> {
    let mut commands = Pipeline::with_capacity(1);
    commands.cmd("XDEL").arg(&[keys.dead_letters(), &id.at.to_string()]);
    let Count(removed) = link.run("remove a dead letter", &commands).await?;
    Ok(removed > 0)
}
