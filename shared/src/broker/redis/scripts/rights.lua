-- Calls commands, and says which of them the user may not call. Their keys are no keys of the script: it would be
-- refused whole. Redis says NOPERM, and inside a script, before 7.2, only the sentence.
local missing = {}
for i, line in ipairs(ARGV) do
  local words = {}
  for word in string.gmatch(line, '%S+') do words[#words + 1] = word end
  local answer = redis.pcall(unpack(words))
  local text = type(answer) == 'table' and answer.err or ''
  if string.find(text, 'NOPERM', 1, true) or string.find(text, 'The user executing the script', 1, true) then
    missing[#missing + 1] = i
  end
end
return missing
