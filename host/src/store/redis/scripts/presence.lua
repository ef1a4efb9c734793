-- Which replicas have readers of streams: KEYS are `<prefix>:{<stream>}:present`, zsets of replica -> until when.
-- The first reader of all, and the end of the last one, are told on the channel of the stream: `p 1`, `p 0`.
--
-- ARGV: `<now> <until> <PUBLISH or SPUBLISH>`, the replica, then for each key 1 (has readers), 0 (has none) or ? (asks).
-- Answers for each key whether any replica has: 1 or 0. A replica whose time is over has none; nothing is told then.

local settings = {}
for word in string.gmatch(ARGV[1], '%S+') do settings[#settings + 1] = word end
local now, till, publish = settings[1], settings[2], settings[3]
local TTL_MORE = 60000

local function tell(key, text) redis.call(publish, string.sub(key, 1, -8) .. 'wake', text) end

local answers = {}
for i, key in ipairs(KEYS) do
  local what = ARGV[2 + i]
  if what ~= '?' then redis.call('ZREMRANGEBYSCORE', key, '-inf', now) end
  if what == '1' then
    local before = redis.call('ZCARD', key)
    redis.call('ZADD', key, till, ARGV[2])
    redis.call('PEXPIRE', key, tonumber(till) - tonumber(now) + TTL_MORE)
    if before == 0 then tell(key, 'p 1') end
  elseif what == '0' then
    local left = redis.call('ZREM', key, ARGV[2])
    if left == 1 and redis.call('ZCARD', key) == 0 then tell(key, 'p 0') end
  end
  answers[i] = redis.call('ZCOUNT', key, '(' .. now, '+inf') > 0 and 1 or 0
end
return answers
