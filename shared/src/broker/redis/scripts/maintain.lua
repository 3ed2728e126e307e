-- A consumer goes only with nothing pending: DELCONSUMER discards what is. Waiting for work does not count as a sign
-- of life before Redis 7.2, so that whoever calls this gives one: it reads the end of its own history. Not from the very
-- last id there is: the server takes that for >, and delivers what is new.
--
-- How many terminals each has stands beside the counts, for those who ask whether anybody works; a server that is full
-- refuses only that.
local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
if consumers.err then return {0, '0-0'} end
local forgotten, last_id = 0, '18446744073709551615-18446744073709551614'
redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', 1, 'STREAMS', KEYS[1], last_id)
redis.pcall('HSET', KEYS[2], ARGV[4] .. ARGV[2], ARGV[5])
local function named(row)
  local values = {}
  for i = 1, #row, 2 do values[row[i]] = row[i + 1] end
  return values
end
local there = { [ARGV[4] .. ARGV[2]] = true }
for _, row in ipairs(consumers) do
  local of = named(row)
  if of.pending == 0 and of.idle >= tonumber(ARGV[3]) and of.name ~= ARGV[2] then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], of.name)
    forgotten = forgotten + 1
  else
    there[ARGV[4] .. of.name] = true
  end
end
local fields = redis.pcall('HKEYS', KEYS[2])
for _, field in ipairs(fields.err and {} or fields) do
  if string.sub(field, 1, #ARGV[4]) == ARGV[4] and not there[field] then redis.pcall('HDEL', KEYS[2], field) end
end
local last = '0-0'
for _, row in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local of = named(row)
  if of.name == ARGV[1] then last = of['last-delivered-id'] end
end
return {forgotten, last}
