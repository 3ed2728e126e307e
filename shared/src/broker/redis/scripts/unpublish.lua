-- What is pending has been claimed: it runs, and cannot be taken back.
local taken = 0
for i = 2, #ARGV do
  local held = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)
  local free = held.err and string.find(held.err, 'NOGROUP', 1, true) or not held.err and #held == 0
  if free then taken = taken + redis.call('XDEL', KEYS[1], ARGV[i]) end
end
redis.pcall('HINCRBY', KEYS[2], 'discarded', taken)
return taken
