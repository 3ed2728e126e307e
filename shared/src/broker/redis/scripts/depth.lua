-- Before the first claim there is no group, perhaps no stream: both read as nothing. What is not known is -1: Redis
-- 6.2 does not count what was added. Settled entries are deleted, so what is there and not pending was never claimed.
-- INFO and MEMORY need permissions of their own, and nothing depends on them. Of a long stream so many nodes are
-- weighed: entries of 4 KiB and more have a node each, smaller ones share it. A consumer counts as a worker while it
-- has given a sign of life.
local discarded = redis.pcall('HGET', KEYS[3], ARGV[2])
discarded = type(discarded) == 'string' and tonumber(discarded) or 0
local letters = redis.call('XLEN', KEYS[2])
local memory = redis.pcall('INFO', 'memory')
if type(memory) == 'table' then memory = '' end
local function named(row)
  local values = {}
  for i = 1, #row, 2 do values[row[i]] = row[i + 1] end
  return values
end
local info = redis.pcall('XINFO', 'STREAM', KEYS[1])
if info.err then return {0, -1, 0, -1, letters, memory, discarded, 0, -1, 0, 0} end
local stream, pending, last = named(info), 0, '0-0'
for _, row in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = named(row)
  if group.name == ARGV[1] then pending, last = group.pending, group['last-delivered-id'] end
end
local workers, terminals = 0, 0
local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
if not consumers.err then
  for _, row in ipairs(consumers) do
    local of = named(row)
    if of.idle < tonumber(ARGV[3]) then
      local has = redis.pcall('HGET', KEYS[3], ARGV[4] .. of.name)
      workers, terminals = workers + 1, terminals + (type(has) == 'string' and tonumber(has) or 0)
    end
  end
end
local since = -1
local time = redis.call('TIME')
local first = stream.length > pending and redis.call('XRANGE', KEYS[1], '(' .. last, '+', 'COUNT', 1)[1]
if first then since = tonumber(string.match(first[1], '^%d+')) end
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local bytes = redis.pcall('MEMORY', 'USAGE', KEYS[1], 'SAMPLES', 200)
if type(bytes) == 'table' then bytes = 0 end
return {stream.length, stream['entries-added'] or -1, pending, since, letters, memory, discarded, bytes, now, workers, terminals}
