-- ARGV: how long a wish to cancel is remembered, and all statuses.
local now = millis()
redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', string.format('%.0f', now - ARGV[1]))
local gone = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', string.format('%.0f', now), 'LIMIT', 0, 200)
for _, id in ipairs(gone) do
  redis.call('UNLINK', KEYS[1] .. id)
  for i = 2, #ARGV do redis.call('ZREM', KEYS[2] .. ARGV[i], id) end
  redis.call('ZREM', KEYS[3], id)
end
return #gone
