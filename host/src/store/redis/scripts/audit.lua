-- Looks at some members of a list and drops those that have no place there. ARGV[2]: the list's name; ARGV[3]: cursor of
-- the last look, or 0; ARGV[4]: about how many. Then takes as many streams at random, to be compared with their rows.
-- Answers: the next cursor, 0 at the end, and { stream, its place, whole, … }; whole: 1 when no list lacks it, else 0.

local list = key(ARGV[2])
local cursor, members = unpack(redis.call('ZSCAN', list, ARGV[3], 'COUNT', ARGV[4]))
for at = 1, #members, 2 do
  local place, belongs = parse(redis.call('HGET', PLACES, members[at])), false
  if place and tonumber(place.created) == tonumber(members[at + 1]) then
    for _, name in ipairs(lists(place)) do belongs = belongs or name == list end
  end
  if not belongs then redis.call('ZREM', list, members[at]) end
end

local answer = {}
local some = redis.call('HRANDFIELD', PLACES, ARGV[4], 'WITHVALUES')
for at = 1, #some, 2 do
  local place = parse(some[at + 1])
  local whole = place and redis.call('ZSCORE', key('deadlines'), some[at])
  for _, name in ipairs(place and lists(place) or {}) do whole = whole and redis.call('ZSCORE', name, some[at]) end
  for _, value in ipairs({ some[at], some[at + 1], whole and '1' or '0' }) do answer[#answer + 1] = value end
end
return { cursor, answer }
