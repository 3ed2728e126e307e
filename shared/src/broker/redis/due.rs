//! Claiming only what is about to expire.

use std::time::Duration;

use redis::{Pipeline, Value};
use tokio::time::Instant;

use super::GROUP;
use super::claim::{deliveries, is_stale, stale};
use super::codec;
use super::connection::Link;
use super::keys::Keys;
use super::script::eval;
use crate::broker::{BrokerError, Consumer, Delivery};

const CLAIM_DUE: &str = "claim what is about to expire";

/// The most of one call: the script looks at them with their data.
const MAX: usize = 64;

/// The first alone first: mostly it is not due, and then nothing else is looked at. What has no budget is no
/// request, and does not wait for anything.
const CLAIM: &str = r"
local time = redis.call('TIME')
local soon = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[3]
if redis.call('EXISTS', KEYS[1]) == 0 then return {time, {}} end
local groups, last = redis.call('XINFO', 'GROUPS', KEYS[1]), nil
for _, row in ipairs(groups) do
  local group = {}
  for i = 1, #row, 2 do group[row[i]] = row[i + 1] end
  if group.name == ARGV[1] then last = group['last-delivered-id'] end
end
if not last then return {time, {}} end
local function due(count)
  local entries, found = redis.call('XRANGE', KEYS[1], '(' .. last, '+', 'COUNT', count), 0
  for i, entry in ipairs(entries) do
    local budget
    for j = 1, #entry[2], 2 do
      if entry[2][j] == 'budgetMs' then budget = tonumber(entry[2][j + 1]) end
    end
    if budget and string.match(entry[1], '^%d+') + budget > soon then break end
    found = i
  end
  return found
end
if due(1) == 0 then return {time, {}} end
local claimed = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', due(ARGV[4]), 'STREAMS', KEYS[1], '>')
return {time, claimed and claimed[1][2] or {}}";

/// <https://redis.io/docs/latest/commands/xreadgroup/>
pub(super) async fn claim_due(
    link: &Link,
    keys: &Keys,
    consumer: &Consumer,
    within: Duration,
    max: usize,
) -> Result<Vec<Delivery>, BrokerError> {
    if max == 0 {
        return Ok(Vec::new());
    }
    let mut commands = Pipeline::with_capacity(1);
    eval(&mut commands, CLAIM, &[keys.requests()]);
    commands.arg(&[GROUP, consumer.as_str()]);
    commands.arg(within.as_millis() as u64).arg(max.min(MAX));
    let asked = Instant::now();
    let answer = link.run(CLAIM_DUE, &commands).await?;
    if is_stale(asked) {
        return Err(stale(CLAIM_DUE));
    }
    let Value::Array(mut answers) = answer else {
        return Ok(Vec::new());
    };
    let Some(Value::Array(mut parts)) = answers.pop() else {
        return Ok(Vec::new());
    };
    let entries = codec::read_entries(parts.pop().unwrap_or(Value::Nil));
    let time = parts.pop().as_ref().and_then(codec::server_millis);
    let first = entries.into_iter().filter_map(|(id, fields)| Some((id, 1, fields?)));
    Ok(deliveries(consumer, time, first))
}
