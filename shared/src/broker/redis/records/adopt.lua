-- Stores some of the replies in a stream that nobody reads any more; returns how many had a record that waited for
-- them, and how many are left.
local function adopt(stream, too_large)
  local finished = 0
  for _, entry in ipairs(redis.call('XRANGE', stream, '-', '+', 'COUNT', 50)) do
    local reply = named(entry[2])
    if reply.requestId and reply.status and reply.data then
      finished = finished + finish(reply.requestId, reply.status, reply.data, reply.deadLetter, too_large)
    end
    redis.call('XDEL', stream, entry[1])
  end
  return finished, redis.call('XLEN', stream)
end
