-- ARGV: id, attempt.
local id = ARGV[1]
local record = KEYS[1] .. id
local state = redis.call('HMGET', record, 'status', 'cancel', 'tenant')
if not state[1] then
  return redis.call('ZSCORE', KEYS[5], id) and 1 or 0
end
if is_final(state[1]) or state[2] then return 1 end
-- First what takes no memory: a server that is full refuses nothing behind it.
redis.call('HDEL', record, 'progress', 'message', 'progressVersion')
redis.call('HSET', record, 'status', 'processing', 'attempts', ARGV[2], 'started', whole(millis()), 'startedVersion',
  next_version(id))
move(id, state[1], 'processing', state[3])
tell(id)
return 0
