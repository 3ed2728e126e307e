-- KEYS[6..10]: request stream, reply stream, dead letters, requesters that are gone, requesters. ARGV: group, consumer,
-- entry, requester ('' where nobody waits), id ('' where there is none), outcome, data, what is stored for a result that
-- is too large, then the dead letter. A reply that tells of a dead letter names it.
local entry, requester, id, outcome, data = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
if redis.call('EXISTS', KEYS[6]) == 0 then return 0 end
local held = redis.pcall('XPENDING', KEYS[6], ARGV[1], entry, entry, 1)
if held.err or #held == 0 or held[1][2] ~= ARGV[2] then return 0 end
local letter = #ARGV > 8 and redis.call('XADD', KEYS[8], '*', unpack(ARGV, 9))
if requester ~= '' then
  local reply = {'requestId', id, 'status', outcome, 'data', data}
  if letter then
    reply[7], reply[8] = 'deadLetter', letter
  end
  if not redis.call('XADD', KEYS[7], 'NOMKSTREAM', '*', unpack(reply)) and not redis.call('ZSCORE', KEYS[9], requester) then
    redis.call('ZADD', KEYS[10], 'NX', string.format('%.0f', millis()), requester)
    redis.call('XADD', KEYS[7], '*', unpack(reply))
  end
end
if id ~= '' then finish(id, outcome, data, letter, ARGV[8]) end
redis.call('XACK', KEYS[6], ARGV[1], entry)
redis.call('XDEL', KEYS[6], entry)
return 1
