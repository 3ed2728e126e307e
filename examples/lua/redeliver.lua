-- Counts deliveries of entries that are still their consumer's.
-- KEYS: weather-requests.
-- ARGV: group, consumer, then each entry and which delivery this is.
-- Returns the entries that are its own, or the error NOGROUP.
-- Generated from what Roundtrip's own workers send: see shared/src/broker/redis/published.rs.

-- Only what is still its consumer's: between finding and delivering another may have taken it. Says which entries
-- these are; what is in them comes with the next commands, and not through the script.
local ours = {}
for i = 3, #ARGV, 2 do
  local held = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)
  if held.err then return held end
  if #held == 1 and held[1][2] == ARGV[2] then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'RETRYCOUNT', ARGV[i + 1], 'JUSTID')
    ours[#ours + 1] = ARGV[i]
  end
end
return ours
