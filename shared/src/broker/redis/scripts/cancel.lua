-- KEYS[6..7]: request stream, counts. ARGV: id, entry ('' where unknown), group, the fault for whoever waits, what names of
-- reply streams begin with, how long a wish is remembered whose request's deadline is not known.
local id = ARGV[1]
local record = KEYS[1] .. id
local state = redis.call('HMGET', record, 'status', 'entry')
if state[1] and is_final(state[1]) then return state[1] end
local entry = state[2] or ''
if entry == '' then entry = ARGV[2] end
if not state[1] and entry == '' then return 'unknown' end
local found = entry ~= '' and redis.call('XRANGE', KEYS[6], entry, entry)[1]
local request = found and named(found[2])
if found and not holder(KEYS[6], ARGV[3], entry) then
  redis.call('XDEL', KEYS[6], entry)
  redis.pcall('HINCRBY', KEYS[7], 'discarded', 1)
  if request.keep ~= 'only' and request.replyTo then
    redis.call('XADD', ARGV[5] .. request.replyTo, 'NOMKSTREAM', '*',
      unpack(reply_of(id, 'fault', ARGV[4], request.operation, request.tenant)))
  end
  finish(id, 'fault', ARGV[4])
  return 'done'
end
if not state[1] and not found then return 'unknown' end
allow_writes(id)
if state[1] then
  redis.call('HSET', record, 'cancel', 1)
  next_version(id)
  tell(id)
end
-- Nobody needs the wish after the deadline.
local until_then = tonumber(request and request.budgetMs)
if until_then then until_then = until_then + string.match(entry, '^%d+') else until_then = millis() + ARGV[6] end
redis.call('ZADD', KEYS[5], whole(until_then + GRACE), id)
redis.pcall('PUBLISH', KEYS[4], 'cancel ' .. id)
return 'asked'
