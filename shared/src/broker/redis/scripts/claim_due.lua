-- One after the other, until one is not due: mostly that is the first. What is large ends the search as well, so that
-- the script never has much more in hand than one. What has no budget is no request, and does not wait for anything.
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
return {time, claimed and claimed[1][2] or {}}
