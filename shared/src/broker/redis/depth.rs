//! How much is waiting. The group's own `lag` is wrong once entries were deleted, so this counts.

use std::time::Duration;

use redis::{Pipeline, Value};

use super::GROUP;
use super::codec;
use super::connection::Link;
use super::keys::Keys;
use crate::broker::{BrokerError, Depth, EntryId};

const MEASURE: &str = "measure the backlog";

pub(super) async fn depth(link: &Link, keys: &Keys) -> Result<Depth, BrokerError> {
    let mut commands = Pipeline::with_capacity(4);
    // Before the first claim there is no group, perhaps no stream: those answers are errors and read as 0.
    commands.ignore_errors();
    commands
        .cmd("XINFO")
        .arg(&["STREAM", keys.requests()])
        .cmd("XPENDING")
        .arg(&[keys.requests(), GROUP])
        .cmd("XINFO")
        .arg(&["GROUPS", keys.requests()])
        .cmd("XLEN")
        .arg(keys.dead_letters());
    let Value::Array(answers) = link.run(MEASURE, &commands).await? else {
        return Ok(Depth::default());
    };
    // From one answer, so that what is added or removed meanwhile cannot fall between the two.
    let stream = |name| {
        answers
            .first()
            .and_then(|answer| value(answer, name))
            .and_then(codec::number)
    };
    let length = stream("length").unwrap_or(0);
    // Redis 6.2 does not have it.
    let completed = stream("entries-added").map(|added| added.saturating_sub(length));
    let claimed = answers.get(1).and_then(first_number).unwrap_or(0);
    let delivered = answers.get(2).and_then(last_delivered).unwrap_or_default();
    // Settled entries are deleted, so what is there and not pending was never claimed.
    let waiting = length.saturating_sub(claimed);
    Ok(Depth {
        waiting,
        claimed,
        dead_letters: answers.get(3).and_then(codec::number).unwrap_or(0),
        oldest_waiting: if waiting > 0 {
            oldest_after(link, keys, delivered).await?
        } else {
            None
        },
        completed,
    })
}

async fn oldest_after(link: &Link, keys: &Keys, delivered: EntryId) -> Result<Option<Duration>, BrokerError> {
    let mut commands = Pipeline::with_capacity(2);
    commands
        .cmd("XRANGE")
        .arg(&[keys.requests(), &delivered.next().to_string(), "+", "COUNT", "1"])
        .cmd("TIME");
    let Value::Array(mut answers) = link.run(MEASURE, &commands).await? else {
        return Ok(None);
    };
    let now = answers.pop().as_ref().and_then(codec::server_millis);
    let entries = answers.pop().map(codec::read_entries).unwrap_or_default();
    let oldest = entries.first().map(|(id, _)| id.millis);
    Ok(oldest
        .zip(now)
        .map(|(oldest, now)| Duration::from_millis(now.saturating_sub(oldest))))
}

fn first_number(answer: &Value) -> Option<u64> {
    match answer {
        Value::Array(items) => items.first().and_then(codec::number),
        _ => None,
    }
}

/// Finds the value of `name` in `[name, value, …]`.
fn value<'a>(answer: &'a Value, name: &str) -> Option<&'a Value> {
    let Value::Array(items) = answer else {
        return None;
    };
    let at = items
        .iter()
        .position(|item| matches!(item, Value::BulkString(text) if text == name.as_bytes()))?;
    items.get(at + 1)
}

/// Finds `last-delivered-id` of our group in `[[name, value, …], …]`.
fn last_delivered(groups: &Value) -> Option<EntryId> {
    let Value::Array(groups) = groups else {
        return None;
    };
    groups.iter().find_map(
        |group| match (value(group, "name")?, value(group, "last-delivered-id")?) {
            (Value::BulkString(name), Value::BulkString(id)) if name == GROUP.as_bytes() => EntryId::parse(id),
            _ => None,
        },
    )
}
