-- What the scripts of one stream share; put in front of each of them.
--
-- KEYS: job keys `<prefix>:{<stream>}:job`; all other keys of a stream are derived from them and have the same slot.
-- ARGV[1]: `<now> <idle> <paused idle> <retention> <publish>`: Unix milliseconds, three times in milliseconds,
-- and PUBLISH or, in a Cluster, SPUBLISH.
--
-- Row (hash): gen status user created updated settled head rev active expires by w ttl_at indexed, and job fields
-- as `f:<name>` = `<revision>[.<place>]:<JSON>`. Log entry: id `<gen>-<last sequence>`, n = count, r = lines,
-- k = kinds 0..3 where not all are 0, t = ticket. Checkpoint (hash): at = `<gen>-<sequence>`, state.
--
-- Lua's numbers are exact up to 2^53: generations, sequences and times are far below. Tickets stay text.

local settings = {}
for word in string.gmatch(ARGV[1], '%S+') do settings[#settings + 1] = word end
local NOW, IDLE = tonumber(settings[1]), tonumber(settings[2])
local IDLE_PAUSED, RETENTION, PUBLISH = tonumber(settings[3]), tonumber(settings[4]), settings[5]
-- A TTL is only a back-stop: it ends after what the deadlines of the index end.
local TTL_MORE, REMOVED_TTL, INDEX_AGAIN = 60000, 3600000, 60000

local function text(number) return string.format('%.0f', number) end

local function key(job, name) return string.sub(job, 1, -4) .. name end

local TERMINAL = { complete = true, error = true, aborted = true }
local function is_active(status) return status == 'running' or status == 'requires_action' end

-- A number as the row keeps it; none when it is damaged.
local function whole(digits)
  local number = digits and string.match(digits, '^%d+$') and tonumber(digits)
  return number and number <= 9007199254740992 and number or nil
end

-- The row, as far as the rules of a write need it; none when it is not there, damaged, or past its retention.
local function row_of(job)
  local row = redis.pcall('HMGET', job, 'gen', 'status', 'head', 'rev', 'active', 'settled', 'expires', 'ttl_at',
    'indexed', 'w', 'by')
  -- What is no hash is no row. Any other error says nothing about the row.
  if row.err and not string.find(row.err, 'WRONGTYPE', 1, true) then error(row.err, 0) end
  if row.err or not row[1] then return nil end
  local found = {
    gen = whole(row[1]), status = row[2], head = whole(row[3]), rev = whole(row[4]), active = whole(row[5]) or 0,
    settled = whole(row[6]), expires = whole(row[7]), ttl_at = whole(row[8]) or 0, indexed = whole(row[9]) or 0,
    w = row[10], by = row[11],
  }
  if not (found.gen and found.head and found.rev) then return nil end
  if not (is_active(found.status) or TERMINAL[found.status]) then return nil end
  return found
end

-- A command takes so many arguments at once.
local function in_chunks(command, target, list)
  for from = 1, #list, 1000 do redis.call(command, target, unpack(list, from, math.min(from + 999, #list))) end
end

-- When it is timed out or, settled, forgotten.
local function due_of(row)
  if row.status == 'running' then return row.active + IDLE end
  if row.status == 'requires_action' then return row.active + IDLE_PAUSED end
  return row.expires or ((row.settled or row.active) + RETENTION)
end

local function is_expired(row, now) return not is_active(row.status) and due_of(row) <= now end

local function ttl_of(row, now)
  if row.status == 'running' then return 2 * IDLE + TTL_MORE end
  if row.status == 'requires_action' then return 2 * IDLE_PAUSED + TTL_MORE end
  return math.max(due_of(row) - now, 0) + TTL_MORE
end

local KEPT = { 'job', 'log', 'checkpoint' }

-- Lets all keys live at least that long. A key that is not there is left alone.
local function extend(job, ttl)
  for _, name in ipairs(KEPT) do
    local one = key(job, name)
    if redis.call('PTTL', one) < ttl then redis.call('PEXPIRE', one, text(ttl)) end
  end
end

-- Lets all keys live exactly that long: at the end of a generation.
local function expire(job, ttl)
  for _, name in ipairs(KEPT) do redis.call('PEXPIRE', key(job, name), text(ttl)) end
end

-- Messages: `e <gen> <first> <count> <kinds or ->` and the lines; `h <gen> <head>`; `g <gen>`.
local function wake(job, message) redis.call(PUBLISH, key(job, 'wake'), message) end

-- The answer `accepted, and the index must hear of it`.
local function placed(job, row)
  local more = redis.call('HMGET', job, 'created', 'user')
  return table.concat({ 'P', text(row.gen), text(row.rev), row.status, more[1] or '0', text(due_of(row)),
    more[2] or '' }, ' ')
end
