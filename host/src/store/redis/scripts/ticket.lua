-- Tickets of a stream that wait for their use. KEYS[1]: the job; they stand beside it in `tickets`, a hash: the ticket's
-- SHA-256 -> `<expires> <subject>`. The key lives as long as the last of them.
-- ARGV[2]: `put` or `take`; ARGV[3]: the hash in hex; for put ARGV[4]: `<how many at most> <expires>`, ARGV[5]: subject.
-- Answers: put: 1, or 0 when there are too many; take: the subject, once, or nothing.

local tickets, hash = key(KEYS[1], 'tickets'), ARGV[3]
local function expires(ticket) return tonumber(string.match(ticket, '^(%d+) ')) or 0 end

if ARGV[2] == 'take' then
  local ticket = redis.call('HGET', tickets, hash)
  if not ticket then return false end
  redis.call('HDEL', tickets, hash)
  return expires(ticket) > NOW and string.match(ticket, '^%d+ (.*)$')
end

local max, until_ms = string.match(ARGV[4], '^(%d+) (%d+)$')
local waiting = redis.call('HGETALL', tickets)
for at = 1, #waiting, 2 do
  if expires(waiting[at + 1]) <= NOW then redis.call('HDEL', tickets, waiting[at]) end
end
if redis.call('HLEN', tickets) >= tonumber(max) then return 0 end
redis.call('HSET', tickets, hash, until_ms .. ' ' .. ARGV[5])
local ttl = math.max(tonumber(until_ms) - NOW, 1)
if redis.call('PTTL', tickets) < ttl then redis.call('PEXPIRE', tickets, text(ttl)) end
return 1
