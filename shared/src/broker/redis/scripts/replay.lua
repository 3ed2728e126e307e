-- KEYS[6..7]: dead letters, request stream. ARGV: the letter, and how many of its names and values, counted from its end,
-- are what was given up. Both in one step, so that a crash neither loses the request nor doubles it. Its record, where
-- there is one, goes on.
local letter = redis.call('XRANGE', KEYS[6], ARGV[1], ARGV[1])[1]
if not letter then return false end
local fields = {}
for i = #letter[2] - tonumber(ARGV[2]) + 1, #letter[2] do fields[#fields + 1] = letter[2][i] end
-- Deletes nothing, and fails where nothing may be deleted: before the request is there twice.
redis.call('XDEL', KEYS[6], '0-0')
local entry = redis.call('XADD', KEYS[7], '*', unpack(fields))
redis.call('XDEL', KEYS[6], ARGV[1])
local request = named(fields)
local id = request.requestId
-- From here on it runs: what fails now takes nothing back.
pcall(function()
  local state = redis.call('HMGET', KEYS[1] .. id, 'status', 'ttl', 'key', 'tenant')
  if not state[1] or not is_final(state[1]) then return end
  redis.call('HDEL', KEYS[1] .. id, 'finished', 'finishedVersion', 'outcome', 'data', 'deadLetter', 'cancel')
  redis.call('HSET', KEYS[1] .. id, 'status', 'queued', 'entry', entry, 'replyTo', request.replyTo)
  next_version(id)
  move(id, state[1], 'queued', state[4])
  look_at(id, millis() + request.budgetMs, state[2], state[4])
  tell(id)
  if state[3] and redis.call('PTTL', state[3]) < tonumber(request.budgetMs) then
    redis.call('PEXPIRE', state[3], request.budgetMs)
  end
end)
return entry
