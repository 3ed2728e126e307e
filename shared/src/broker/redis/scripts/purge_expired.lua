-- KEYS[6..7]: request stream, requesters. ARGV: group, what is stored for a request whose time ran out, what names of reply
-- streams begin with, how long a requester may be silent, what names of queues end with, then all statuses. Removes records whose time is over, and ends
-- those of requests that are past their deadline and in nobody's hands any more: their result will not come. Some at a
-- time; returns how many were removed, and how many were ended.
local now = millis()
redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', whole(now))
local removed, ended = 0, 0

local function is_on_its_way(entry, requester, operation)
  if entry and entry ~= '' then
    local queue = operation and operation .. ARGV[5] or KEYS[6]
    if holder(queue, ARGV[1], entry) then return true end
    if #redis.call('XRANGE', queue, entry, entry) == 1 then return true end
  end
  -- A requester that is away has not read its replies yet, and nobody has adopted them.
  local seen = requester and redis.call('ZSCORE', KEYS[7], requester)
  return seen and seen + ARGV[4] < now and redis.call('EXISTS', ARGV[3] .. requester) == 1
end

local function remove(id, tenant)
  redis.call('UNLINK', KEYS[1] .. id)
  for i = 6, #ARGV do redis.call('ZREM', index(tenant, ARGV[i]), id) end
  redis.call('ZREM', KEYS[3], due(id, tenant))
  removed = removed + 1
end

local function look(noted)
  -- A UUID, and behind it the tenant, where there is one.
  local id, tenant = string.sub(noted, 1, 36), string.sub(noted, 38)
  local state = redis.call('HMGET', KEYS[1] .. id, 'status', 'entry', 'replyTo', 'ttl', 'operation')
  if not state[1] or is_final(state[1]) then
    remove(id, tenant)
  elseif is_on_its_way(state[2], state[3], state[5]) then
    look_at(id, now, state[4], tenant)
  else
    ended = ended + finish(id, 'fault', ARGV[2], false, '', true)
  end
end

for _, noted in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', whole(now), 'LIMIT', 0, 50)) do
  -- One that something is wrong with must not keep the others waiting for ever.
  if not pcall(look, noted) then redis.pcall('ZADD', KEYS[3], whole(now + GRACE), noted) end
end
return {removed, ended}
