-- Stores some of the replies in a stream that nobody reads any more; returns how many became results, and how many are
-- left. Where `ttl` is given, those without a record get one.
local function adopt(stream, too_large, ttl, max)
  local finished = 0
  for _, entry in ipairs(redis.call('XRANGE', stream, '-', '+', 'COUNT', 50)) do
    local reply = named(entry[2])
    if reply.requestId and reply.status and reply.data then
      local id, status, data, letter = reply.requestId, reply.status, reply.data, reply.deadLetter
      if ttl then
        finished = finished + keep_result(id, status, data, letter, ttl, max, too_large)
      else
        finished = finished + finish(id, status, data, letter, too_large)
      end
    end
    redis.call('XDEL', stream, entry[1])
  end
  return finished, redis.call('XLEN', stream)
end
