-- KEYS[6..8]: requesters, our reply stream, requesters that are gone. ARGV: our name, how long is too long, what names of
-- reply streams begin with, how long those are remembered that are gone, what is stored for a result that is too large.
-- Silence is judged on the server's clock. At most ten requesters and so many replies at a time: one call must not hold
-- up the others.
local now = millis()
redis.call('ZADD', KEYS[6], string.format('%.0f', now), ARGV[1])
redis.call('ZREM', KEYS[8], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[8], '-inf', string.format('%.0f', now - ARGV[4]))
if redis.call('EXISTS', KEYS[7]) == 0 then
  redis.call('XADD', KEYS[7], '0-1', '', '')
  redis.call('XDEL', KEYS[7], '0-1')
end
local removed, adopted, more = 0, 0, 0
local silent = redis.call('ZRANGEBYSCORE', KEYS[6], '-inf', string.format('%.0f', now - ARGV[2]), 'LIMIT', 0, 10)
for _, name in ipairs(silent) do
  if adopted < 50 then
    local finished, left = adopt(ARGV[3] .. name, ARGV[5])
    adopted = adopted + finished
    if left == 0 then
      redis.call('UNLINK', ARGV[3] .. name)
      redis.call('ZREM', KEYS[6], name)
      redis.call('ZADD', KEYS[8], string.format('%.0f', now), name)
      removed = removed + 1
    else
      more = 1
    end
  else
    more = 1
  end
end
return {removed, adopted, more}
