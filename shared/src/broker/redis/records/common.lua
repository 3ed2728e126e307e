-- What all scripts on records share. KEYS[1..5]: what names of records begin with, what names of indexes begin
-- with, when records expire, the channel of changes, what is to be cancelled.
local function millis()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function is_final(status)
  return status ~= 'queued' and status ~= 'processing'
end

local function move(id, from, to)
  if from == to then return end
  if from then redis.call('ZREM', KEYS[2] .. from, id) end
  redis.call('ZADD', KEYS[2] .. to, 0, id)
end

local function keep_until(id, at)
  at = string.format('%.0f', at)
  redis.call('PEXPIREAT', KEYS[1] .. id, at)
  redis.call('ZADD', KEYS[3], at, id)
  redis.call('HSET', KEYS[1] .. id, 'expires', at)
end

local function next_version(id)
  return redis.call('HINCRBY', KEYS[1] .. id, 'version', 1)
end

local function tell(id)
  redis.call('PUBLISH', KEYS[4], 'record ' .. id)
end

-- The status that an outcome ends in, and the code of its fault.
local function fate(outcome, data)
  if outcome == 'ok' then return 'succeeded', '' end
  local read, fault = pcall(cjson.decode, data)
  local code = read and type(fault) == 'table' and fault.code or 'internal'
  if code == 'expired' or code == 'cancelled' then return code, code end
  return 'failed', code
end

-- Stores a result, unless there is no record, or one that has ended.
local function finish(id, outcome, data, letter, too_large)
  local record = KEYS[1] .. id
  local state = redis.call('HMGET', record, 'status', 'ttl', 'max', 'key', 'cancel')
  if not state[1] or is_final(state[1]) then return 0 end
  if outcome == 'ok' and #data > tonumber(state[3]) then outcome, data = 'fault', too_large end
  local status, code = fate(outcome, data)
  local now = millis()
  redis.call('HSET', record, 'status', status, 'finished', string.format('%.0f', now), 'finishedVersion', next_version(id),
    'outcome', outcome, 'data', data)
  if letter then redis.call('HSET', record, 'deadLetter', letter) end
  move(id, state[1], status)
  keep_until(id, now + state[2])
  if state[5] then redis.call('ZREM', KEYS[5], id) end
  -- Nothing was attempted: the same call may come again under its key.
  if code == 'upstream-unavailable' and state[4] then
    local claim = redis.call('GET', state[4])
    if claim and string.sub(claim, 1, 36) == id then redis.call('DEL', state[4]) end
  end
  tell(id)
  return 1
end

local function named(fields)
  local values = {}
  for i = 1, #fields, 2 do values[fields[i]] = fields[i + 1] end
  return values
end
