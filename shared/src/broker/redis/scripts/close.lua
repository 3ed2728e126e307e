-- KEYS[6..8]: requesters, the reply stream, requesters that are gone. ARGV: name, what is stored for a result that is
-- too large. Returns how many replies are left to be stored. All callers were answered: what has no record by now
-- was promised to nobody.
local _, left = adopt(KEYS[7], ARGV[2])
if left > 0 then return left end
redis.call('UNLINK', KEYS[7])
redis.call('ZREM', KEYS[6], ARGV[1])
redis.call('ZADD', KEYS[8], whole(millis()), ARGV[1])
return 0
