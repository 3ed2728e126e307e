-- KEYS[6..7]: request stream, counts; then for each request its idempotency key's claim (the stream again, where there is none).
-- ARGV: group, then id and entry of each. Takes requests back that nobody has claimed, with all that was written beside
-- them; says of each whether that worked.
local taken = {}
for i = 2, #ARGV, 2 do
  local id, entry, claim = ARGV[i], ARGV[i + 1], KEYS[7 + i / 2]
  local known, held = pcall(holder, KEYS[6], ARGV[1], entry)
  local free = known and not held and redis.call('XDEL', KEYS[6], entry) == 1
  if free then
    local tenant = redis.call('HGET', KEYS[1] .. id, 'tenant')
    redis.pcall('HINCRBY', KEYS[7], 'discarded', 1)
    redis.call('DEL', KEYS[1] .. id)
    redis.call('ZREM', index(tenant, 'queued'), id)
    redis.call('ZREM', KEYS[3], due(id, tenant))
    local names = claim ~= KEYS[6] and redis.call('GET', claim)
    if names and string.sub(names, 1, 36) == id then redis.call('DEL', claim) end
    tell(id)
  end
  taken[#taken + 1] = free and 1 or 0
end
return taken
