//! Requesters that are there. A reply is written only to a stream that exists, so that what comes late for
//! a requester that is gone leaves nothing behind; the stream is made here, and removed after its
//! requester was silent for too long.

use redis::Pipeline;

use super::connection::Link;
use super::keys::Keys;
use super::script::{eval, one_number};
use super::wire::Commands;
use crate::broker::{ABSENCE, BrokerError};
use crate::message::ReplyTo;

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
if redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('XADD', KEYS[2], '0-1', '', '')
  redis.call('XDEL', KEYS[2], '0-1')
end
local gone = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2], 'LIMIT', 0, 10)
for _, name in ipairs(gone) do
  redis.call('UNLINK', ARGV[3] .. name)
  redis.call('ZREM', KEYS[1], name)
end
return #gone";

/// <https://redis.io/docs/latest/commands/zadd/>
pub(super) async fn attend(link: &Link, keys: &Keys, requester: &ReplyTo) -> Result<usize, BrokerError> {
    let mut commands = Pipeline::with_capacity(1);
    let replies = keys.replies(requester);
    eval(&mut commands, ATTEND, &[keys.requesters(), &replies]);
    commands
        .arg(requester.as_str())
        .arg(ABSENCE.as_millis() as u64)
        .arg(keys.replies_of_anyone());
    let gone = link.run("register the requester", &commands).await?;
    Ok(one_number(&gone) as usize)
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
