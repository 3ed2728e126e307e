-- A server that is full refuses what takes memory, but not behind what takes none: what fills it may wait for the
-- group.
redis.pcall('XDEL', KEYS[1], '0-0')
return redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
