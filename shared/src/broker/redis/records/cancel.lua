-- KEYS[6]: request stream. ARGV: id, entry ('' where unknown), group, the fault for whoever waits, what names of
-- reply streams begin with.
local id = ARGV[1]
local record = KEYS[1] .. id
local state = redis.call('HMGET', record, 'status', 'entry')
if state[1] and is_final(state[1]) then return state[1] end
local entry = state[2] or ARGV[2]
if not state[1] and entry == '' then return 'unknown' end
local waits = entry ~= '' and redis.call('XRANGE', KEYS[6], entry, entry)[1]
local held = waits and redis.pcall('XPENDING', KEYS[6], ARGV[3], entry, entry, 1)
if waits and (held.err or #held == 0) then
  redis.call('XDEL', KEYS[6], entry)
  local request = named(waits[2])
  if request.keep ~= 'only' and request.replyTo then
    redis.call('XADD', ARGV[5] .. request.replyTo, 'NOMKSTREAM', '*', 'requestId', id, 'status', 'fault', 'data', ARGV[4])
  end
  finish(id, 'fault', ARGV[4])
  return 'done'
end
if not state[1] and not waits then return 'unknown' end
if state[1] then
  redis.call('HSET', record, 'cancel', 1)
  next_version(id)
  tell(id)
end
redis.call('ZADD', KEYS[5], string.format('%.0f', millis()), id)
redis.call('PUBLISH', KEYS[4], 'cancel ' .. id)
return 'asked'
