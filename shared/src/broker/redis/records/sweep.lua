-- KEYS[6..7]: request stream, requesters. ARGV: group, what is stored for a request whose time ran out, what names of reply
-- streams begin with, how long a requester may be silent, then all statuses. Removes records whose time is over, and ends
-- those of requests that are past their deadline and in nobody's hands any more: their result will not come. Some at a
-- time; returns how many were removed, and how many were ended.
local now = millis()
redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', whole(now))
local removed, ended = 0, 0

local function is_on_its_way(entry, requester)
  if entry and entry ~= '' then
    local held = redis.pcall('XPENDING', KEYS[6], ARGV[1], entry, entry, 1)
    if not held.err and #held == 1 then return true end
    if #redis.call('XRANGE', KEYS[6], entry, entry) == 1 then return true end
  end
  -- A requester that is away has not read its replies yet, and nobody has adopted them.
  local seen = requester and redis.call('ZSCORE', KEYS[7], requester)
  return seen and seen + ARGV[4] < now and redis.call('EXISTS', ARGV[3] .. requester) == 1
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', whole(now), 'LIMIT', 0, 50)) do
  local record = KEYS[1] .. id
  local state = redis.call('HMGET', record, 'status', 'entry', 'replyTo', 'ttl')
  if state[1] and not is_final(state[1]) then
    if is_on_its_way(state[2], state[3]) then
      look_at(id, now, state[4])
    else
      ended = ended + finish(id, 'fault', ARGV[2], false, '', true)
    end
  else
    redis.call('UNLINK', record)
    for i = 5, #ARGV do redis.call('ZREM', KEYS[2] .. ARGV[i], id) end
    redis.call('ZREM', KEYS[3], id)
    removed = removed + 1
  end
end
return {removed, ended}
