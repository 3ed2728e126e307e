-- KEYS[6..10]: request stream, reply stream, dead letters, requesters that are gone, requesters. ARGV: group, consumer,
-- entry, requester ('' where nobody waits), id ('' where there is none), outcome, data, what is stored for a result that
-- is too large, for how long a result is kept whose requester is gone, how large it may be, whether the work may have begun
-- unsaid ('' for no), operation and tenant (each '' where it goes without saying), then the dead letter. A reply that tells of a dead letter names it.
local entry, requester, id, outcome, data = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local uncertain, operation, tenant = ARGV[11] ~= '', ARGV[12], ARGV[13]
if redis.call('EXISTS', KEYS[6]) == 0 then return 0 end
local held = holder(KEYS[6], ARGV[1], entry)
if not held or held[2] ~= ARGV[2] then return 0 end
-- These end nothing yet, and come first for two reasons. Who may not end the delivery fails here, before a reply or a letter
-- is written that would be written again with each try. And a server that is full refuses nothing behind them.
redis.call('XDEL', KEYS[6], '0-0')
redis.call('XACK', KEYS[6], ARGV[1], '0-0')
local letter = #ARGV > 13 and redis.call('XADD', KEYS[8], '*', unpack(ARGV, 14))
local function not_yet(failure)
  if letter then redis.pcall('XDEL', KEYS[8], letter) end
  return failure
end
-- The record before the reply: it takes its end once, a reply is written as often as it is tried. What nobody waits for
-- has its result nowhere else.
local function tell_record()
  if requester == '' then
    return keep_result(id, outcome, data, letter, ARGV[9], ARGV[10], ARGV[8], uncertain, operation, tenant)
  end
  return finish(id, outcome, data, letter, ARGV[8], uncertain)
end
if id ~= '' then
  local told, result = pcall(tell_record)
  if told and type(result) == 'table' then told, result = false, result.err end
  -- A record that something is wrong with must not keep its request from ending.
  if not told and is_refusal(result) then return not_yet(raised(result)) end
end
local lost = 0
if requester ~= '' then
  local reply = reply_of(id, outcome, data, operation, tenant)
  add(reply, 'deadLetter', letter)
  local written = redis.pcall('XADD', KEYS[7], 'NOMKSTREAM', '*', unpack(reply))
  if written and written.err then
    -- The key holds something else than a stream: no other try would work.
    if not string.find(written.err, 'WRONGTYPE', 1, true) then return not_yet(written) end
    lost = 2
  elseif not written then
    if redis.call('ZSCORE', KEYS[9], requester) then
      local kept = keep_result(id, outcome, data, letter, ARGV[9], ARGV[10], ARGV[8], uncertain, operation, tenant)
      if type(kept) == 'table' and is_refusal(kept.err) then return not_yet(kept) end
    else
      redis.call('ZADD', KEYS[10], 'NX', whole(millis()), requester)
      redis.call('XADD', KEYS[7], '*', unpack(reply))
    end
  end
end
redis.call('XACK', KEYS[6], ARGV[1], entry)
redis.call('XDEL', KEYS[6], entry)
return 1 + lost
