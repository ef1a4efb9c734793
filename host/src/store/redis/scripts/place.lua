-- Puts a stream where its row says. ARGV[2]: stream; ARGV[3]: `<gen> <rev> <status> <created> <user>`, or empty: there is
-- no row (any more) of the generation in ARGV[6]; ARGV[4]: when to look at it again; ARGV[5]: the place that whoever
-- swept has seen before it read the row, or empty. News older than what is known is ignored, unless what is known is
-- what was swept: then the row was read later, and is right.

local stream, due, seen = ARGV[2], tonumber(ARGV[4]), ARGV[5]
local known_text = redis.call('HGET', PLACES, stream)
local known, new = parse(known_text), parse(ARGV[3])
if ARGV[3] ~= '' and not new then return redis.error_reply('ERR bad place') end
if known and known_text ~= seen then
  local gen = new and new.gen or tonumber(ARGV[6])
  if gen < known.gen or (new and gen == known.gen and new.rev < known.rev) then return 0 end
end
local same = known and new and known.created == new.created and known.user == new.user and known.status == new.status
if known and not same then
  for _, list in ipairs(lists(known)) do redis.call('ZREM', list, stream) end
end
if new and not known then
  -- The places were lost, and with them where it stood before.
  for _, status in ipairs({ 'running', 'requires_action', 'complete', 'error', 'aborted' }) do
    if status ~= new.status then
      redis.call('ZREM', key('all:' .. status), stream)
      redis.call('ZREM', key('of:' .. status .. ':' .. new.user), stream)
    end
  end
end
for _, zset in ipairs({ 'admitted', 'admitted:' .. (new or known or { user = '' }).user }) do
  redis.call('ZREM', key(zset), stream)
end
if not new then
  redis.call('HDEL', PLACES, stream)
  redis.call('ZREM', key('deadlines'), stream)
  return 1
end
local ttl = math.max(TTL, due - NOW + INTENT * 12)
redis.call('HSET', PLACES, stream, ARGV[3])
redis.call('ZADD', key('deadlines'), text(due), stream)
for _, list in ipairs(lists(new)) do
  redis.call('ZADD', list, new.created, stream)
  keep(list, ttl)
end
keep(PLACES, ttl)
keep(key('deadlines'), ttl)
return 1
