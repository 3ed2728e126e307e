-- KEYS[6..7]: request stream, requesters. ARGV: group, what is stored for a request whose time ran out, what names of reply
-- streams begin with, how long a requester may be silent, then all statuses. Removes records whose time is over, and ends
-- those of requests that are past their deadline and in nobody's hands any more: their result will not come. Some at a
-- time; returns how many were removed, and how many were ended.
local now = millis()
redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', whole(now))
local removed, ended = 0, 0

local function is_on_its_way(entry, requester)
  if entry and entry ~= '' then
    if holder(KEYS[6], ARGV[1], entry) then return true end
    if #redis.call('XRANGE', KEYS[6], entry, entry) == 1 then return true end
  end
  -- A requester that is away has not read its replies yet, and nobody has adopted them.
  local seen = requester and redis.call('ZSCORE', KEYS[7], requester)
  return seen and seen + ARGV[4] < now and redis.call('EXISTS', ARGV[3] .. requester) == 1
end

local function remove(id)
  redis.call('UNLINK', KEYS[1] .. id)
  for i = 5, #ARGV do redis.call('ZREM', KEYS[2] .. ARGV[i], id) end
  redis.call('ZREM', KEYS[3], id)
  removed = removed + 1
end

local function look(id)
  local state = redis.call('HMGET', KEYS[1] .. id, 'status', 'entry', 'replyTo', 'ttl')
  if not state[1] or is_final(state[1]) then
    remove(id)
  elseif is_on_its_way(state[2], state[3]) then
    look_at(id, now, state[4])
  else
    ended = ended + finish(id, 'fault', ARGV[2], false, '', true)
  end
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', whole(now), 'LIMIT', 0, 50)) do
  -- One that something is wrong with must not keep the others waiting for ever.
  if not pcall(look, id) then redis.pcall('ZADD', KEYS[3], whole(now + GRACE), id) end
end
return {removed, ended}
