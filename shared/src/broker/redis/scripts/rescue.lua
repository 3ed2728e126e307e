-- Between search and rescue an entry may have been settled, or rescued by another.
local rescued = 0
for i = 4, #ARGV do
  if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1) == 0 then
    local as = {'IDLE', ARGV[3], 'RETRYCOUNT', 0, 'FORCE', 'JUSTID'}
    local taken = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], unpack(as))
    rescued = rescued + #taken
  end
end
return rescued
