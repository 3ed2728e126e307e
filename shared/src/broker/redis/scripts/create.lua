-- KEYS[6]: request stream. ARGV: id, entry ('' where unknown), budget, time to live, largest result, group, requester,
-- operation and tenant (each '' where it goes without saying).
local id, entry = ARGV[1], ARGV[2]
local record = KEYS[1] .. id
if redis.call('EXISTS', record) == 1 then return 0 end
local now = millis()
-- What is neither in the stream nor pending has been settled: its reply is under way.
local status, created, attempts = 'processing', now, 1
if entry ~= '' then
  created = tonumber(string.match(entry, '^%d+'))
  local held = holder(KEYS[6], ARGV[6], entry)
  if held then
    attempts = held[4]
  elseif #redis.call('XRANGE', KEYS[6], entry, entry) == 1 then
    status, attempts = 'queued', 0
  end
end
-- A request that was accepted is to be found, however full the server is.
allow_writes(id)
return or_nothing(id, ARGV[9], function()
  redis.call('HSET', record, 'status', status, 'created', whole(created), 'entry', entry, 'ttl', ARGV[4], 'max', ARGV[5],
    'attempts', attempts, 'version', 1, 'replyTo', ARGV[7])
  set_origin(id, ARGV[8], ARGV[9])
  if status == 'processing' then
    redis.call('HSET', record, 'started', whole(now), 'startedVersion', next_version(id))
  end
  move(id, nil, status, ARGV[9])
  look_at(id, created + ARGV[3], ARGV[4], ARGV[9])
  return 1
end)
