-- KEYS[6..8]: requesters, our reply stream, requesters that are gone. ARGV: our name, how long is too long, what names of
-- reply streams begin with, how long those are remembered that are gone, what is stored for a result that is too large, for
-- how long results are kept that have no record, how large these may be, then names and scores of those that are judged
-- to be gone. Whoever said something since is not. So many replies at a time: one call must not hold up the others.
-- Returns how many were removed, how many replies became results, whether there is more, and who is silent for too long.
local now = millis()
-- First what takes no memory: a server that is full must not make us look absent.
redis.call('ZREM', KEYS[8], ARGV[1])
redis.call('ZADD', KEYS[6], whole(now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[8], '-inf', whole(now - ARGV[4]))
if redis.call('EXISTS', KEYS[7]) == 0 then
  redis.call('XADD', KEYS[7], '0-1', '', '')
  redis.call('XDEL', KEYS[7], '0-1')
end
local removed, adopted, more = 0, 0, 0
for i = 8, #ARGV, 2 do
  local name = ARGV[i]
  if adopted >= 50 then
    more = 1
  elseif redis.call('ZSCORE', KEYS[6], name) == ARGV[i + 1] then
    local done, finished, left = pcall(adopt, ARGV[3] .. name, ARGV[5], ARGV[6], ARGV[7])
    if not done then
      -- Something is wrong with this one, and the others are adopted all the same. It is looked at again later.
      redis.call('ZADD', KEYS[6], whole(now), name)
      finished, left = 0, -1
    end
    adopted = adopted + finished
    if left == 0 then
      redis.call('UNLINK', ARGV[3] .. name)
      redis.call('ZREM', KEYS[6], name)
      redis.call('ZADD', KEYS[8], whole(now), name)
      removed = removed + 1
    elseif left > 0 then
      more = 1
    end
  end
end
local silent = redis.call('ZRANGEBYSCORE', KEYS[6], '-inf', whole(now - ARGV[2]), 'WITHSCORES', 'LIMIT', 0, 10)
return {removed, adopted, more, silent}
