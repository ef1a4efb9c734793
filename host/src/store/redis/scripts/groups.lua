-- Consumer groups: those of Redis, on the log of the current generation. KEYS[1]: the job. ARGV[2]: what; ARGV[3]: group;
-- ARGV[4]: the generation that it must be of, or nothing for the current one. Another generation's groups are not there.
-- The time is the caller's, or Redis' own for a caller who is ahead of it.
--
-- make   ARGV[5]: `start` or `now`; ARGV[6]: groups at most. Answers: M made | X existed | F too many | N no such stream.
-- delete Answers 1 when it was there, else 0.
-- read   ARGV[5]: `<count> <bytes> <redeliver after>`; ARGV[6]: consumer. Answers { entry, … }, as XRANGE has them.
-- list   ARGV[5]: how many. Answers { { id, consumer, idle, deliveries }, … }.
-- ack    From ARGV[5] on: ids. Answers how many were pending.

local job, what, group = KEYS[1], ARGV[2], ARGV[3]
local log = key(job, 'log')

local row = row_of(job)
if row and (is_expired(row, NOW) or (ARGV[4] ~= '' and ARGV[4] ~= text(row.gen))) then row = nil end
local groups = row and redis.call('EXISTS', log) == 1 and redis.call('XINFO', 'GROUPS', log) or {}
local position
for _, texts in ipairs(groups) do
  local info = {}
  for i = 1, #texts, 2 do info[texts[i]] = texts[i + 1] end
  if info.name == group then position = info['last-delivered-id'] end
end

-- What Redis' own clock, which it counts the idle time by, is ahead of ours. No delivery can lie ahead of it.
local function ahead()
  local time = redis.call('TIME')
  return math.max(tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) - NOW, 0)
end

local function make(from, max)
  if not row then return 'N' end
  if position then return 'X' end
  if #groups >= tonumber(max) then return 'F' end
  redis.call('XGROUP', 'CREATE', log, group, from == 'start' and '0' or '$', 'MKSTREAM')
  -- Before the first record it is the group that makes the log.
  if redis.call('PTTL', log) < 0 then
    redis.call('PEXPIRE', log, text(math.max(redis.call('PTTL', job), TTL_MORE)))
  end
  return 'M'
end

-- Entries as long as they fit.
local function basket(count, bytes_max)
  local entries, bytes = {}, 0
  local function put(entry)
    if #entries >= count then return false end
    for at = 2, #entry[2], 2 do
      if entry[2][at - 1] == 'r' then bytes = bytes + math.max(#entry[2][at], 1) end
    end
    if bytes > bytes_max and #entries > 0 then return false end
    entries[#entries + 1] = entry
    return true
  end
  return entries, put
end

-- Those that someone has had for long enough go to `consumer`. False when there is no room for more.
local function again(consumer, count, after, put)
  local idle = text(after + ahead())
  for _, held in ipairs(redis.call('XPENDING', log, group, 'IDLE', idle, '-', '+', text(count))) do
    local entry = redis.call('XRANGE', log, held[1], held[1])[1]
    if not entry then
      redis.call('XACK', log, group, held[1])
    elseif put(entry) then
      redis.call('XCLAIM', log, group, consumer, 0, held[1], 'TIME', text(NOW), 'RETRYCOUNT', text(held[4] + 1),
        'JUSTID')
    else
      return false
    end
  end
  return true
end

-- What nobody has had yet goes to `consumer`. First it is looked at: what does not fit must not be given out.
local function new(consumer, entries, put)
  local from, ids, full = '(' .. position, {}, false
  while not full do
    local found = redis.call('XRANGE', log, from, '+', 'COUNT', 16)
    for _, entry in ipairs(found) do
      if not put(entry) then full = true break end
      ids[#ids + 1] = entry[1]
      from = '(' .. entry[1]
    end
    full = full or #found < 16
  end
  if #ids == 0 then return end
  redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', #ids, 'STREAMS', log, '>')
  local claim = { log, group, consumer, 0 }
  for _, id in ipairs(ids) do claim[#claim + 1] = id end
  for _, option in ipairs({ 'TIME', text(NOW), 'RETRYCOUNT', 1, 'JUSTID' }) do claim[#claim + 1] = option end
  redis.call('XCLAIM', unpack(claim))
end

if what == 'make' then return make(ARGV[5], ARGV[6]) end
if not position then return (what == 'read' or what == 'list') and {} or 0 end
if what == 'delete' then return redis.call('XGROUP', 'DESTROY', log, group) end
if what == 'ack' then return redis.call('XACK', log, group, unpack(ARGV, 5)) end
if what == 'read' then
  local count, bytes_max, after = string.match(ARGV[5], '^(%d+) (%d+) (%d+)$')
  -- As many as Lua can hand to one command.
  count, bytes_max, after = math.min(tonumber(count), 1000), tonumber(bytes_max), tonumber(after)
  local entries, put = basket(count, bytes_max)
  if count > 0 and again(ARGV[6], count, after, put) then new(ARGV[6], entries, put) end
  return entries
end
local held, later = redis.call('XPENDING', log, group, '-', '+', ARGV[5]), ahead()
for _, one in ipairs(held) do one[3] = math.max(one[3] - later, 0) end
return held
