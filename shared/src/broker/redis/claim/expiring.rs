//! Claiming only what is about to expire.

use std::time::Duration;

use tokio::time::Instant;

use crate::batch::MAX_BYTES;
use crate::broker::redis::GROUP;
use crate::broker::redis::claim::{Taking, deliveries, is_stale, stale};
use crate::broker::redis::clock::Step;
use crate::broker::redis::codec;
use crate::broker::redis::connection::dedicated::Handshake;
use crate::broker::redis::connection::resp::Commands;
use crate::broker::{BrokerError, Delivery};

const CLAIM_DUE: &str = "claim what is about to expire";

/// The most of one call: the script looks at each, with its data.
const MAX: usize = 64;

/// One after the other, until one is not due: mostly that is the first. What is large ends the search as well, so
/// that the script never has much more in hand than one. What has no budget is no request, and does not wait for
/// anything.
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
local count, bytes = 0, 0
while count < tonumber(ARGV[4]) and bytes < tonumber(ARGV[5]) do
  local entry, budget = redis.call('XRANGE', KEYS[1], '(' .. last, '+', 'COUNT', 1)[1], nil
  if not entry then break end
  for i = 1, #entry[2], 2 do
    bytes = bytes + #entry[2][i + 1]
    if entry[2][i] == 'budgetMs' then budget = tonumber(entry[2][i + 1]) end
  end
  local since = tonumber(string.match(entry[1], '^%d+'))
  if since <= tonumber(ARGV[6]) then since = since + ARGV[7] end
  if budget and since + budget > soon then break end
  count, last = count + 1, entry[1]
end
if count == 0 then return {time, {}} end
local claimed = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', count, 'STREAMS', KEYS[1], '>')
return {time, claimed and claimed[1][2] or {}}";

impl Taking<'_> {
    /// Claims what expires `within` this time. <https://redis.io/docs/latest/commands/xreadgroup/>
    pub(in crate::broker::redis) async fn claim_due(
        self,
        within: Duration,
        max: usize,
    ) -> Result<Vec<Delivery>, BrokerError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let ahead = self.clock.last_ahead().unwrap_or(Step { before: 0, by: 0 });
        let mut commands = Commands::default();
        commands
            .begin(11)
            .arg("EVAL")
            .arg(CLAIM)
            .number(1)
            .arg(self.keys.requests());
        commands.arg(GROUP).arg(self.consumer.as_str());
        commands.number(within.as_millis() as u64).number(max.min(MAX) as u64);
        commands.number(MAX_BYTES as u64).number(ahead.before).number(ahead.by);
        let (asked, lane) = (Instant::now(), &self.reader.lane);
        let mut answer = lane.run(self.link, CLAIM_DUE, Handshake::none, &commands).await?;
        let claimed = answer.began();
        if is_stale(asked, claimed, self.lease) {
            return Err(stale(CLAIM_DUE));
        }
        answer.list();
        let ages = self.clock.ages(codec::read_time(&mut answer));
        let entries = codec::read_range(&mut answer);
        let first = entries.into_iter().map(|(id, fields)| (id, 1, fields));
        Ok(deliveries(self.consumer, claimed, &ages, first))
    }
}
