//! Clearing up after those who cannot any more: consumers of dead workers, and entries in nobody's hands.

use std::time::Duration;

use redis::{Pipeline, Value};

use super::GROUP;
use super::codec;
use super::connection::Link;
use super::keys::Keys;
use super::lease::RELEASED;
use super::script::eval;
use crate::broker::{BrokerError, Consumer, Tidied};

/// A consumer goes only with nothing pending: DELCONSUMER discards what is. Waiting for work does not count
/// as a sign of life before Redis 7.2, so that whoever tidies gives one: it reads the end of its own history.
/// Not from the very last id there is: the server takes that for `>`, and delivers what is new.
///
/// Then: entries that no claim hands out (they lie before the last that was delivered) and that no pending
/// list has: the group was made at `$`, or somebody deleted a consumer that held them. They are looked for
/// only when nothing waits and more is there than is pending, a page at a time, and become dropped work.
const TIDY: &str = r"
local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
if consumers.err then return {0, 0} end
local forgotten, last_id = 0, '18446744073709551615-18446744073709551614'
redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', 1, 'STREAMS', KEYS[1], last_id)
for _, row in ipairs(consumers) do
  local of = {}
  for i = 1, #row, 2 do of[row[i]] = row[i + 1] end
  if of.pending == 0 and of.idle >= tonumber(ARGV[3]) and of.name ~= ARGV[2] then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], of.name)
    forgotten = forgotten + 1
  end
end
local pending = redis.call('XPENDING', KEYS[1], ARGV[1])[1]
if redis.call('XLEN', KEYS[1]) <= pending then return {forgotten, 0} end
local last = '0-0'
for _, row in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local of = {}
  for i = 1, #row, 2 do of[row[i]] = row[i + 1] end
  if of.name == ARGV[1] then last = of['last-delivered-id'] end
end
if #redis.call('XRANGE', KEYS[1], '(' .. last, '+', 'COUNT', 1) > 0 then return {forgotten, 0} end
local rescued, from = 0, '-'
for page = 1, 20 do
  local entries = redis.call('XRANGE', KEYS[1], from, last, 'COUNT', 50)
  for _, entry in ipairs(entries) do
    if #redis.call('XPENDING', KEYS[1], ARGV[1], entry[1], entry[1], 1) == 0 then
      redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, entry[1], 'IDLE', ARGV[4], 'RETRYCOUNT', 0, 'FORCE', 'JUSTID')
      rescued = rescued + 1
    end
    from = '(' .. entry[1]
  end
  if #entries < 50 or rescued >= 50 then break end
end
return {forgotten, rescued}";

/// <https://redis.io/docs/latest/commands/xinfo-consumers/>
pub(super) async fn tidy(
    link: &Link,
    keys: &Keys,
    consumer: &Consumer,
    silent: Duration,
) -> Result<Tidied, BrokerError> {
    let mut commands = Pipeline::with_capacity(1);
    eval(&mut commands, TIDY, &[keys.requests()]);
    commands.arg(GROUP).arg(consumer.as_str());
    commands.arg(silent.as_millis() as u64).arg(RELEASED.as_millis() as u64);
    let answer = link.run("tidy up the consumer group", &commands).await?;
    let Value::Array(answers) = answer else {
        return Ok(Tidied::default());
    };
    let Some(Value::Array(counts)) = answers.first() else {
        return Ok(Tidied::default());
    };
    let count = |at: usize| counts.get(at).and_then(codec::number).unwrap_or(0);
    Ok(Tidied {
        consumers: count(0),
        rescued: count(1),
    })
}
