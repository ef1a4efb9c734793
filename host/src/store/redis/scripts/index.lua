#!lua flags=allow-oom
-- What the scripts of the index share; put in front of each of them. They run without memory too: most of them free some. The index is derived from the rows and repaired
-- from them; no script that touches it touches a row.
--
-- KEYS[1]: `<prefix>:{index}:places`, a hash: stream -> `<gen> <rev> <status> <created> <user>`. Derived from it, zsets
-- of streams by `created`: all:<status>, all:any, of:<status>:<user>, of:any:<user>; deadlines: streams by when to look
-- at them; admitted and admitted:<user>: streams whose creation is under way, by when that counts no more.
-- ARGV[1]: `<now> <ttl>` in milliseconds; every key lives that long after it was last written, at least.

local NOW, TTL = string.match(ARGV[1], '^(%d+) (%d+)$')
NOW, TTL = tonumber(NOW), tonumber(TTL)
local PLACES = KEYS[1]
-- How long a write may take before the sweep looks what became of it.
local INTENT = 5000

local function text(number) return string.format('%.0f', number) end

local function key(name) return string.sub(PLACES, 1, -7) .. name end

local function is_active(status) return status == 'running' or status == 'requires_action' end

local function keep(one, ttl)
  if redis.call('PTTL', one) < ttl * 7 / 8 then redis.call('PEXPIRE', one, text(ttl)) end
end

local function parse(place)
  if not place then return nil end
  local gen, rev, status, created, user = string.match(place, '^(%d+) (%d+) (%S+) (%d+) (.*)$')
  if not gen then return nil end
  return { gen = tonumber(gen), rev = tonumber(rev), status = status, created = created, user = user }
end

local function lists(place)
  return { key('all:any'), key('all:' .. place.status), key('of:any:' .. place.user),
    key('of:' .. place.status .. ':' .. place.user) }
end

-- Looks at a stream no later than that.
local function deadline_before(stream, due)
  redis.call('ZADD', key('deadlines'), 'LT', text(due), stream)
  keep(key('deadlines'), TTL)
end
