-- ARGV: what is stored for a result that is too large, for how long results are kept that have no record, how large these
-- may be, then id, outcome, data and dead letter of each.
for i = 4, #ARGV, 4 do
  local letter = ARGV[i + 3] ~= '' and ARGV[i + 3]
  local stored = keep_result(ARGV[i], ARGV[i + 1], ARGV[i + 2], letter, ARGV[2], ARGV[3], ARGV[1])
  if type(stored) == 'table' then return stored end
end
return 1
