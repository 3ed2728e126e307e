-- Stores some of the replies in a stream that nobody reads any more; returns how many became results, and how many are
-- left. One at a time, and not many bytes: all of it is one step of the server's. Where `ttl` is given, those without a
-- record get one.
local function adopt(stream, too_large, ttl, max)
  local finished, bytes = 0, 0
  for _ = 1, 50 do
    local entry = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
    if not entry or bytes > 4194304 then break end
    local reply = named(entry[2])
    if reply.requestId and reply.status and reply.data then
      local id, status, data, letter = reply.requestId, reply.status, reply.data, reply.deadLetter
      bytes = bytes + #data
      local stored
      if ttl then
        stored = keep_result(id, status, data, letter, ttl, max, too_large, false, reply.operation, reply.tenant)
      else
        stored = finish(id, status, data, letter, too_large)
      end
      if type(stored) == 'table' then error(stored.err, 0) end
      finished = finished + stored
    end
    redis.call('XDEL', stream, entry[1])
  end
  return finished, redis.call('XLEN', stream)
end
