-- KEYS[6..7]: request stream, the idempotency key's claim (the stream again, where there is none).
-- ARGV: id, budget, time to live, largest result, fingerprint ('' for none), its time to live, then the entry.
local id, fingerprint = ARGV[1], ARGV[5]
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
local now = millis()
local entry = redis.call('XADD', KEYS[6], '*', unpack(ARGV, 7))
redis.call('HSET', KEYS[1] .. id, 'status', 'queued', 'created', string.format('%.0f', now), 'entry', entry, 'ttl', ARGV[3],
  'max', ARGV[4], 'attempts', 0, 'version', 1)
move(id, nil, 'queued')
keep_until(id, now + ARGV[2] + ARGV[3])
if fingerprint ~= '' then
  redis.call('HSET', KEYS[1] .. id, 'key', KEYS[7])
  redis.call('SET', KEYS[7], id .. ' ' .. fingerprint, 'PX', ARGV[6])
end
tell(id)
return {'as', entry}
