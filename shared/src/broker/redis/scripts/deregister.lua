-- Hands back what was not handed back before, a part at a time. A delivery that a shutdown ended is no sign of poison, so
-- that the count never goes beyond two by it. DELCONSUMER would discard what is still pending, so it runs only when
-- nothing is.
if redis.call('EXISTS', KEYS[1]) == 0 then return '' end
local held = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[4], '+', ARGV[5], ARGV[2])
for _, entry in ipairs(held) do
  if entry[3] < tonumber(ARGV[3]) then
    local count = math.max(entry[4] - 1, 1)
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, entry[1], 'IDLE', ARGV[3], 'RETRYCOUNT', count, 'JUSTID')
  end
end
if #held > 0 then return held[#held][1] end
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) == 0 then
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
  redis.pcall('HDEL', KEYS[2], ARGV[6] .. ARGV[2])
end
return ''
