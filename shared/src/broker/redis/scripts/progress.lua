-- ARGV: id, percent, message.
local id = ARGV[1]
local record = KEYS[1] .. id
if redis.call('HGET', record, 'status') ~= 'processing' then return 0 end
redis.call('HSET', record, 'progress', ARGV[2], 'message', ARGV[3], 'progressVersion', next_version(id))
tell(id)
return 1
