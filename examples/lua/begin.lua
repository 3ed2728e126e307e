-- Says that work on a request begins, and asks whether it may.
-- KEYS: weather-result:, weather-results:, weather-results-expiry, weather-changes, weather-cancelling.
-- ARGV: id, attempt.
-- Returns 0: go on; 1: it has ended, or is to be cancelled.
-- Generated from what Roundtrip's own workers send: see shared/src/broker/redis/published.rs.

-- What all scripts on records share. KEYS[1..5]: what names of records begin with, what names of indexes begin
-- with, when something is due for a record, the channel of changes, what is to be cancelled.
local function millis()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function whole(number)
  return string.format('%.0f', number)
end

local function is_final(status)
  return status ~= 'queued' and status ~= 'processing'
end

-- The index of a tenant's records by status. The default tenant has no name: '', nil, or what Redis answers for nothing.
local function index(tenant, status)
  if not tenant or tenant == '' then return KEYS[2] .. status end
  return KEYS[2] .. tenant .. ':' .. status
end

local function move(id, from, to, tenant)
  if from == to then return end
  if from then redis.call('ZREM', index(tenant, from), id) end
  redis.call('ZADD', index(tenant, to), 0, id)
end

-- What stands for a record where it is noted when something is due: whoever looks then may find nothing else of it.
local function due(id, tenant)
  if not tenant or tenant == '' then return id end
  return id .. ':' .. tenant
end

-- What a record is of. Where nothing is said it is the first operation, and the default tenant.
local function set_origin(id, operation, tenant)
  if operation and operation ~= '' then redis.call('HSET', KEYS[1] .. id, 'operation', operation) end
  if tenant and tenant ~= '' then redis.call('HSET', KEYS[1] .. id, 'tenant', tenant) end
end

-- A record that has ended is kept until `at`.
local function keep_until(id, at, tenant)
  at = whole(at)
  redis.call('PEXPIREAT', KEYS[1] .. id, at)
  redis.call('ZADD', KEYS[3], at, due(id, tenant))
  redis.call('HSET', KEYS[1] .. id, 'expires', at)
end

-- How long after its deadline a record may still lack its result: it may be in the reply stream of a requester that is
-- gone, which is adopted within a minute.
local GRACE = 120000

-- A record that has not ended is looked at some time after its deadline, and goes by itself if nobody looks.
local function look_at(id, deadline, ttl, tenant)
  local record = KEYS[1] .. id
  redis.call('PEXPIREAT', record, whole(deadline + 2 * GRACE + ttl))
  redis.call('ZADD', KEYS[3], whole(deadline + GRACE), due(id, tenant))
  redis.call('HSET', record, 'expires', whole(deadline + ttl))
end

local function next_version(id)
  return redis.call('HINCRBY', KEYS[1] .. id, 'version', 1)
end

-- Only wakes up: those who may not publish (Redis 7 gives a user no channels) still do all the rest.
local function tell(id)
  redis.pcall('PUBLISH', KEYS[4], 'record ' .. id)
end

-- A server that is full refuses a script's first write where that takes memory, and none behind one that does not.
-- What frees memory in the end, or ends what was begun, must not be refused.
local function allow_writes(id)
  redis.call('ZREM', KEYS[5], id)
end

-- An error as a reply. What was raised is a text; Redis 6.2 puts a place and a sign before it.
local function raised(text)
  return redis.error_reply(string.match(text, '^@.-: %-(.*)') or text)
end

-- Whether something failed for a right that may be given one day; else another try fails as well.
local function is_refusal(text)
  return string.find(text, 'NOPERM', 1, true) or string.find(text, 'The user executing the script', 1, true)
end

-- Makes a record, all of it or none: half of one would be found by nobody, and never end.
local function or_nothing(id, tenant, make)
  local done, result = pcall(make)
  if done then return result end
  redis.pcall('DEL', KEYS[1] .. id)
  for _, status in ipairs({'queued', 'processing', 'succeeded', 'failed', 'expired', 'cancelled'}) do
    redis.pcall('ZREM', index(tenant, status), id)
  end
  redis.pcall('ZREM', KEYS[3], due(id, tenant))
  return raised(result)
end

-- The status that an outcome ends in, and the code of its fault.
local function fate(outcome, data)
  if outcome == 'ok' then return 'succeeded', '' end
  local read, fault = pcall(cjson.decode, data)
  local code = read and type(fault) == 'table' and fault.code or 'internal'
  if code == 'expired' or code == 'cancelled' then return code, code end
  return 'failed', code
end

-- Nothing was attempted: it ended before any delivery began it, or its only delivery found the upstream unavailable.
-- The code alone does not say so: work that ran out of time has the same one. Neither do the attempts, where it is
-- uncertain whether a delivery could say that it began.
local function never_began(code, attempts, uncertain)
  if code == 'upstream-unavailable' then return attempts <= 1 end
  return (code == 'expired' or code == 'cancelled') and attempts == 0 and not uncertain
end

-- Writes down how a record ended.
local function set_outcome(id, outcome, data, letter, max, too_large)
  local record = KEYS[1] .. id
  if outcome == 'ok' and #data > tonumber(max) then outcome, data = 'fault', too_large end
  local status, code = fate(outcome, data)
  local now = millis()
  redis.call('HSET', record, 'status', status, 'finished', whole(now), 'finishedVersion', next_version(id), 'outcome', outcome,
    'data', data)
  if letter then redis.call('HSET', record, 'deadLetter', letter) end
  return status, code, now
end

-- Stores a result, unless there is no record, or one that has ended.
local function finish(id, outcome, data, letter, too_large, uncertain)
  allow_writes(id)
  local record = KEYS[1] .. id
  local state = redis.call('HMGET', record, 'status', 'ttl', 'max', 'key', 'attempts', 'tenant')
  if not state[1] or is_final(state[1]) then return 0 end
  local status, code, now = set_outcome(id, outcome, data, letter, state[3], too_large)
  move(id, state[1], status, state[6])
  keep_until(id, now + state[2], state[6])
  -- The same call may come again under its key.
  if state[4] and never_began(code, tonumber(state[5]), uncertain) then
    local claim = redis.call('GET', state[4])
    if claim and string.sub(claim, 1, 36) == id then redis.call('DEL', state[4]) end
    redis.call('HDEL', record, 'key')
  end
  tell(id)
  return 1
end

-- Stores a result whose requester is gone, or seems to be. One that was only cut off may promise it later: so there is
-- a record of it from now on, for as long as such a requester may take.
local function keep_result(id, outcome, data, letter, ttl, max, too_large, uncertain, operation, tenant)
  local record = KEYS[1] .. id
  if redis.call('EXISTS', record) == 1 then return finish(id, outcome, data, letter, too_large, uncertain) end
  allow_writes(id)
  return or_nothing(id, tenant, function()
    redis.call('HSET', record, 'created', whole(millis()), 'entry', '', 'ttl', ttl, 'max', max, 'attempts', 1, 'version', 1)
    set_origin(id, operation, tenant)
    local status, _, now = set_outcome(id, outcome, data, letter, max, too_large)
    move(id, nil, status, tenant)
    keep_until(id, now + ttl, tenant)
    tell(id)
    return 1
  end)
end

-- Who holds an entry: its row of the pending list, or nil. No group, or no stream, holds nothing; any other error ends the
-- script, as it says nothing about who does.
local function holder(stream, group, entry)
  local held = redis.pcall('XPENDING', stream, group, entry, entry, 1)
  if held.err then
    if string.find(held.err, 'NOGROUP', 1, true) then return nil end
    error(held.err, 0)
  end
  return held[1]
end

local function named(fields)
  local values = {}
  for i = 1, #fields, 2 do values[fields[i]] = fields[i + 1] end
  return values
end

local function add(fields, name, value)
  if value and value ~= '' then
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
end

-- The fields of a reply.
local function reply_of(id, outcome, data, operation, tenant)
  local reply = {'requestId', id, 'status', outcome, 'data', data}
  add(reply, 'operation', operation)
  add(reply, 'tenant', tenant)
  return reply
end
-- ARGV: id, attempt.
local id = ARGV[1]
local record = KEYS[1] .. id
local state = redis.call('HMGET', record, 'status', 'cancel', 'tenant')
if not state[1] then
  return redis.call('ZSCORE', KEYS[5], id) and 1 or 0
end
if is_final(state[1]) or state[2] then return 1 end
-- First what takes no memory: a server that is full refuses nothing behind it.
redis.call('HDEL', record, 'progress', 'message', 'progressVersion')
redis.call('HSET', record, 'status', 'processing', 'attempts', ARGV[2], 'started', whole(millis()), 'startedVersion',
  next_version(id))
move(id, state[1], 'processing', state[3])
tell(id)
return 0
