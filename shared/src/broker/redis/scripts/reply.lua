-- KEYS[6..8]: the reply stream, requesters that are gone, requesters. ARGV: requester, id, outcome, data, what is stored
-- for a result that is too large, for how long it is kept without a record, how large it may be, operation and tenant (each '' where it goes without saying).
-- Makes the stream, unless
-- its requester is known to be gone, and notes the requester as if it had just said that it is there: so there is no stream
-- that nobody would ever remove.
if redis.call('ZSCORE', KEYS[7], ARGV[1]) then
  return keep_result(ARGV[2], ARGV[3], ARGV[4], false, ARGV[6], ARGV[7], ARGV[5], false, ARGV[8], ARGV[9])
end
allow_writes(ARGV[2])
redis.call('ZADD', KEYS[8], 'NX', whole(millis()), ARGV[1])
redis.call('XADD', KEYS[6], '*', unpack(reply_of(ARGV[2], ARGV[3], ARGV[4], ARGV[8], ARGV[9])))
return 1
