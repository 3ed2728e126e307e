//! Requesters that are there, and those that are gone. A requester's stream is made here, and removed after it
//! was silent for too long, and the replies in it became results of their records; a reply makes a stream only for
//! somebody who is not known to be gone, so that what comes late leaves nothing behind.

use std::time::Duration;

use redis::Value;

use super::codec;
use super::connection::Link;
use super::keys::Keys;
use super::records::{on_records, script, too_large_json};
use super::script::one_number;
use super::wire::Commands;
use crate::broker::{ABSENCE, Attended, BrokerError};
use crate::message::{Budget, Reply, ReplyTo};

/// A script that stores replies which nobody reads.
macro_rules! adopting {
    ($file:literal) => {
        concat!(
            include_str!("records/common.lua"),
            include_str!("records/adopt.lua"),
            include_str!($file)
        )
    };
}

/// Makes an empty stream: an entry comes and goes in one step, so that no reader ever sees it.
const MAKE_STREAM: &str = r"
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('XADD', KEYS[1], '0-1', '', '')
  redis.call('XDEL', KEYS[1], '0-1')
end
return 0";

const ATTEND: &str = adopting!("records/attend.lua");
const LEAVE: &str = adopting!("records/leave.lua");
const REPLY_UNLESS_GONE: &str = script!("records/reply.lua");

/// How long a requester is remembered that is gone. No request lives longer, so nothing comes for it after that.
const MEMORY: Duration = Budget::MAX;

/// <https://redis.io/docs/latest/commands/zadd/>
pub(super) async fn attend(link: &Link, keys: &Keys, requester: &ReplyTo) -> Result<Attended, BrokerError> {
    let replies = keys.replies(requester);
    let mut commands = on_records(ATTEND, keys, &[keys.requesters(), &replies, keys.gone()]);
    commands
        .arg(requester.as_str())
        .arg(ABSENCE.as_millis() as u64)
        .arg(keys.replies_of_anyone())
        .arg(MEMORY.as_millis() as u64)
        .arg(too_large_json());
    let answer = link.run("register the requester", &commands).await?;
    let numbers = match &answer {
        Value::Array(answers) => match answers.first() {
            Some(Value::Array(numbers)) => numbers.as_slice(),
            _ => &[],
        },
        _ => &[],
    };
    let number = |at: usize| numbers.get(at).and_then(codec::number).unwrap_or_default();
    Ok(Attended {
        removed: number(0),
        adopted: number(1),
        more: number(2) > 0,
    })
}

/// Removes a requester's stream for good. Replies that came too late to be read become results of their records.
pub(super) async fn leave(link: &Link, keys: &Keys, requester: &ReplyTo) -> Result<(), BrokerError> {
    let replies = keys.replies(requester);
    let mut commands = on_records(LEAVE, keys, &[keys.requesters(), &replies, keys.gone()]);
    commands.arg(requester.as_str()).arg(too_large_json());
    while one_number(&link.run("remove the reply stream", &commands).await?) > 0 {}
    Ok(())
}

/// Writes a reply whose stream was not there: somebody deleted it, or its requester is gone. Then it becomes the
/// result of its record, where there is one.
pub(super) async fn reply_unless_gone(
    link: &Link,
    keys: &Keys,
    requester: &ReplyTo,
    reply: &Reply,
) -> Result<(), BrokerError> {
    let replies = keys.replies(requester);
    let mut commands = on_records(REPLY_UNLESS_GONE, keys, &[&replies, keys.gone(), keys.requesters()]);
    let (outcome, data) = codec::outcome(reply);
    commands
        .arg(requester.as_str())
        .arg(reply.id.to_string())
        .arg(outcome)
        .arg(data.as_ref())
        .arg(too_large_json());
    link.run("write a reply", &commands).await.map(|_| ())
}

/// Makes sure that a requester's replies can be written.
pub(super) fn make_stream(commands: &mut Commands, keys: &Keys, requester: &ReplyTo) {
    commands
        .begin(4)
        .arg("EVAL")
        .arg(MAKE_STREAM)
        .number(1)
        .arg(keys.replies(requester));
}
