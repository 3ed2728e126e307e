-- Makes an empty stream: an entry comes and goes in one step, so that no reader ever sees it. Its requester is noted
-- as if it had just said that it is there, so that there is no stream that nobody would ever remove. First what takes
-- no memory, so that a server that is full does not refuse it.
redis.call('ZREM', KEYS[2], '')
local time = redis.call('TIME')
redis.call('ZADD', KEYS[2], 'NX', string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)), ARGV[1])
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('XADD', KEYS[1], '0-1', '', '')
  redis.call('XDEL', KEYS[1], '0-1')
end
return 0
