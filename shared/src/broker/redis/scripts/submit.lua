-- KEYS[6..7]: request stream, the idempotency key's claim (the stream again, where there is none).
-- ARGV: id, budget, time to live, largest result, fingerprint ('' for none), its time to live, requester,
-- operation and tenant (each '' where it goes without saying), then the entry.
-- The entry last: whatever fails before it, nothing runs; and what was written before it is taken back.
local id, fingerprint = ARGV[1], ARGV[5]
local record = KEYS[1] .. id
if fingerprint ~= '' then
  local claim = redis.call('GET', KEYS[7])
  if claim then
    local known = string.sub(claim, 1, 36)
    if redis.call('EXISTS', KEYS[1] .. known) == 1 then
      if string.sub(claim, 38) ~= fingerprint then return {'conflict'} end
      return {'known', known}
    end
  end
end
local function accept()
  local now = millis()
  redis.call('HSET', record, 'status', 'queued', 'created', whole(now), 'entry', '', 'ttl', ARGV[3], 'max', ARGV[4], 'attempts', 0,
    'version', 1, 'replyTo', ARGV[7])
  set_origin(id, ARGV[8], ARGV[9])
  move(id, nil, 'queued', ARGV[9])
  look_at(id, now + ARGV[2], ARGV[3], ARGV[9])
  if fingerprint ~= '' then
    redis.call('HSET', record, 'key', KEYS[7])
    redis.call('SET', KEYS[7], id .. ' ' .. fingerprint, 'PX', ARGV[6])
  end
  local entry = redis.call('XADD', KEYS[6], '*', unpack(ARGV, 10))
  -- Fields of a hash that was written above: nothing here can fail any more. An entry says when it was accepted.
  redis.call('HSET', record, 'entry', entry, 'created', string.match(entry, '^%d+'))
  tell(id)
  return {'as', entry}
end
local result = or_nothing(id, ARGV[9], accept)
if result.err and fingerprint ~= '' then redis.pcall('DEL', KEYS[7]) end
return result
