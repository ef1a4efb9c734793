-- Asks for a place for a new active job, before its row is written. ARGV[2]: `<active max> <active max of a user>`;
-- ARGV[3]: stream; ARGV[4]: user. Answers: A | H (too many) | U (too many of this user).
-- A stream that is active already, or was admitted just now, needs no other place.

local stream, user = ARGV[3], ARGV[4]
local max, user_max = string.match(ARGV[2], '^(%d+) (%d+)$')
local all, own = key('admitted'), key('admitted:' .. user)
for _, zset in ipairs({ all, own }) do redis.call('ZREMRANGEBYSCORE', zset, '-inf', text(NOW)) end
local place = parse(redis.call('HGET', PLACES, stream))
if not (place and is_active(place.status)) and not redis.call('ZSCORE', all, stream) then
  local function active(of)
    return redis.call('ZCARD', key(of('running'))) + redis.call('ZCARD', key(of('requires_action')))
  end
  local count = active(function(status) return 'all:' .. status end) + redis.call('ZCARD', all)
  if count >= tonumber(max) then return 'H' end
  count = active(function(status) return 'of:' .. status .. ':' .. user end) + redis.call('ZCARD', own)
  if count >= tonumber(user_max) then return 'U' end
  for _, zset in ipairs({ all, own }) do
    redis.call('ZADD', zset, text(NOW + INTENT), stream)
    keep(zset, INTENT * 12)
  end
end
deadline_before(stream, NOW + INTENT)
return 'A'
