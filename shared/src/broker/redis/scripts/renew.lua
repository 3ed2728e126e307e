-- XCLAIM does not ask whose entry it is: without the check, a worker that was frozen for longer than its lease would
-- take its work back from the one who took it over.
local renewed = 0
for i = 3, #ARGV do
  local held = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)
  if #held == 1 and held[1][2] == ARGV[2] then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')
    renewed = renewed + 1
  end
end
local time = redis.call('TIME')
return {renewed, time[1] * 1000 + math.floor(time[2] / 1000)}
