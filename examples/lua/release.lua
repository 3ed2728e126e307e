-- Hands entries to whoever reclaims next. Their counts stay.
-- KEYS: weather-requests.
-- ARGV: group, consumer, 86400000, then entries.
-- Returns 0.
-- Generated from what Roundtrip's own workers send: see shared/src/broker/redis/published.rs.

-- Hands back by aging. The count stays as it is.
for i = 4, #ARGV do
  local held = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)
  if #held == 1 and held[1][2] == ARGV[2] then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'IDLE', ARGV[3], 'JUSTID')
  end
end
return 0
