-- After the clock was set back, entries were delivered in the future, and would count as fresh until it has caught up.
-- They get a lease that begins now; their consumers stay who they are.
local rows = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[2], '+', ARGV[3])
if rows.err then return '' end
for _, row in ipairs(rows) do
  if row[3] == 0 then redis.call('XCLAIM', KEYS[1], ARGV[1], row[2], 0, row[1], 'JUSTID') end
end
return #rows > 0 and rows[#rows][1] or ''
