-- ARGV: what is stored for a result that is too large, for how long results are kept that have no record, how large these
-- may be, then id, outcome, data, dead letter, operation and tenant of each.
for i = 4, #ARGV, 6 do
  local letter = ARGV[i + 3] ~= '' and ARGV[i + 3]
  local stored = keep_result(ARGV[i], ARGV[i + 1], ARGV[i + 2], letter, ARGV[2], ARGV[3], ARGV[1], false, ARGV[i + 4],
    ARGV[i + 5])
  if type(stored) == 'table' then return stored end
end
return 1
