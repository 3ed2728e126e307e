//! Requesters that are there, and those that are gone. A requester's stream is made here, and removed after it
//! was silent for too long; a reply makes a stream only for somebody who is not known to be gone, so that what
//! comes late leaves nothing behind.

use std::time::Duration;

use redis::Pipeline;

use super::codec;
use super::connection::Link;
use super::keys::Keys;
use super::script::{eval, one_number};
use super::wire::Commands;
use crate::broker::{ABSENCE, BrokerError};
use crate::message::{Budget, Reply, ReplyTo};

/// Makes an empty stream: an entry comes and goes in one step, so that no reader ever sees it.
const MAKE_STREAM: &str = r"
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('XADD', KEYS[1], '0-1', '', '')
  redis.call('XDEL', KEYS[1], '0-1')
end
return 0";

/// Silence is judged on the server's clock. At most ten at a time: one call must not hold up the others.
const ATTEND: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now - ARGV[4])
if redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('XADD', KEYS[2], '0-1', '', '')
  redis.call('XDEL', KEYS[2], '0-1')
end
local gone = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2], 'LIMIT', 0, 10)
for _, name in ipairs(gone) do
  redis.call('UNLINK', ARGV[3] .. name)
  redis.call('ZREM', KEYS[1], name)
  redis.call('ZADD', KEYS[3], now, name)
end
return #gone";

const LEAVE: &str = r"
local time = redis.call('TIME')
redis.call('UNLINK', KEYS[2])
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[3], time[1] * 1000 + math.floor(time[2] / 1000), ARGV[1])
return 0";

/// Makes the stream, unless its requester is known to be gone, and notes the requester as if it had just said
/// that it is there: so there is no stream that nobody would ever remove.
const REPLY_UNLESS_GONE: &str = r"
if redis.call('ZSCORE', KEYS[2], ARGV[1]) then return 0 end
local time = redis.call('TIME')
redis.call('ZADD', KEYS[3], 'NX', time[1] * 1000 + math.floor(time[2] / 1000), ARGV[1])
redis.call('XADD', KEYS[1], '*', unpack(ARGV, 2))
return 1";

/// How long a requester is remembered that is gone. No request lives longer, so nothing comes for it after that.
const MEMORY: Duration = Budget::MAX;

/// <https://redis.io/docs/latest/commands/zadd/>
pub(super) async fn attend(link: &Link, keys: &Keys, requester: &ReplyTo) -> Result<usize, BrokerError> {
    let mut commands = Pipeline::with_capacity(1);
    let replies = keys.replies(requester);
    eval(&mut commands, ATTEND, &[keys.requesters(), &replies, keys.gone()]);
    commands
        .arg(requester.as_str())
        .arg(ABSENCE.as_millis() as u64)
        .arg(keys.replies_of_anyone())
        .arg(MEMORY.as_millis() as u64);
    let gone = link.run("register the requester", &commands).await?;
    Ok(one_number(&gone) as usize)
}

/// Removes a requester's stream for good.
pub(super) async fn leave(link: &Link, keys: &Keys, requester: &ReplyTo) -> Result<(), BrokerError> {
    let mut commands = Pipeline::with_capacity(1);
    let replies = keys.replies(requester);
    eval(&mut commands, LEAVE, &[keys.requesters(), &replies, keys.gone()]);
    commands.arg(requester.as_str());
    link.run("remove the reply stream", &commands).await.map(|_| ())
}

/// Writes a reply whose stream was not there: somebody deleted it, or its requester is gone.
pub(super) async fn reply_unless_gone(
    link: &Link,
    keys: &Keys,
    requester: &ReplyTo,
    reply: &Reply,
) -> Result<(), BrokerError> {
    let mut arguments: Vec<Vec<u8>> = Vec::with_capacity(codec::REPLY_ARGUMENTS);
    codec::write_reply(&mut arguments, reply);
    let mut commands = Pipeline::with_capacity(1);
    eval(
        &mut commands,
        REPLY_UNLESS_GONE,
        &[&keys.replies(requester), keys.gone(), keys.requesters()],
    );
    commands.arg(requester.as_str()).arg(arguments);
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
