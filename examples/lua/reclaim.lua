-- Takes over what nobody has renewed for a lease. Counts no delivery.
-- KEYS: weather-requests.
-- ARGV: group, consumer, lease (ms), cursor (0-0 at first), how many, the earliest and the latest that the server's
--   clock may show (ms; beyond that nothing is taken), how many pending entries to pass.
-- Returns {the server's time in ms, next cursor, then each entry and how often it was delivered}, or the error NOGROUP.
-- Generated from what Roundtrip's own workers send: see shared/src/broker/redis/published.rs.

-- JUSTID takes entries over without counting a delivery; how often they were delivered is asked in the same step.
-- pcall, so that an older server's NOGROUP keeps its code.
--
-- The clock first: one that was set makes every entry look idle. Then nothing is taken, and it is only said.
--
-- XAUTOCLAIM passes ten entries for each that it may take. It is repeated, once over the end and round to where it
-- began, so that a scan does not end among what is at work, nor misses what the last one has just seen.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now < tonumber(ARGV[6]) or now > tonumber(ARGV[7]) then return {now, ARGV[4]} end
local function before(a, b)
  local am, as = string.match(a, '(%d+)-(%d+)')
  local bm, bs = string.match(b, '(%d+)-(%d+)')
  am, bm = tonumber(am), tonumber(bm)
  return am < bm or (am == bm and tonumber(as) < tonumber(bs))
end
local from, max, bound = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[8])
local found, seen, count, looked = {now, from}, {}, 0, 0
local cursor, round = from, from == '0-0'
while count < max and looked < bound do
  local part = math.min(max - count, 20)
  local scan = redis.pcall('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], cursor, 'COUNT', part, 'JUSTID')
  if scan.err then return scan end
  for _, id in ipairs(scan[2]) do
    local held = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)
    if #held == 1 and not seen[id] then
      found[#found + 1] = id
      found[#found + 1] = held[1][4]
      seen[id] = true
      count = count + 1
    end
  end
  looked = looked + (#scan[2] == part and part or part * 10)
  cursor = scan[1]
  if cursor == '0-0' then
    if round then break end
    round = true
  elseif round and from ~= '0-0' and not before(cursor, from) then
    break
  end
end
found[2] = cursor
return found
