-- ARGV: what is stored for a result that is too large, then id, outcome, data and dead letter of each.
local finished = 0
for i = 2, #ARGV, 4 do
  local letter = ARGV[i + 3] ~= '' and ARGV[i + 3]
  finished = finished + finish(ARGV[i], ARGV[i + 1], ARGV[i + 2], letter, ARGV[1])
end
return finished
