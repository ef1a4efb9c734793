-- Appends to the logs and rows of streams that wait together: one argument each from ARGV[2] on, and its fields after it.
-- One that fails changes nothing and fails no other.
--
-- KEYS[1]: the job key, where there is one append. Else there are no KEYS: the sixth word of ARGV[1] is what job keys
-- begin with, `<prefix>:{`, and each argument begins with the rest up to the brace, and a blank. (A key by itself would
-- be a quarter of what an append of one token sends. It is no Cluster that gets those.)
--
-- The argument: a line `<age> <first> <count> <ticket> <revision> [<statuses> <late> <fields> <kinds>]`, then the records.
-- Numbers in base 36. To be short, age: ARGV[1]'s now - generation, and revision: the expected one - first; statuses: the expected one and, where it changes, the new one, as letters; late: milliseconds
-- after ARGV[1]'s now, decimal; fields: how many pairs of name and value follow in ARGV, decimal; kinds as in the log.
-- Answers, one each: A | P … (see `placed`) | N not found | G <gen> replaced | T <status> not active |
-- B <head> behind | H <gen> <head> ahead | E <error>.

local STATUSES = { r = 'running', p = 'requires_action', c = 'complete', e = 'error', a = 'aborted' }
local WAKE_BYTES_MAX = 16384

-- Whether that very write stands in the log, or was the last one without records.
local function is_repeat(job, row, first, count, ticket)
  if count == 0 then return row.w == ticket .. ' ' .. text(first) end
  if first > row.head or first < 1 then return false end
  local found = redis.call('XRANGE', key(job, 'log'), text(row.gen) .. '-' .. text(first), '+', 'COUNT', 1)[1]
  if not found then return false end
  local entry = {}
  for at = 1, #found[2], 2 do entry[found[2][at]] = found[2][at + 1] end
  local last = tonumber(string.match(found[1], '%-(%d+)$'))
  return entry.t == ticket and last - (tonumber(entry.n) or 0) + 1 == first
end

local function signed(word)
  if string.sub(word, 1, 1) == '-' then return -tonumber(string.sub(word, 2), 36) end
  return tonumber(word, 36)
end

local function append(job, header, records, fields_at)
  local gen, first, count = NOW - signed(header[1]), tonumber(header[2], 36), tonumber(header[3], 36)
  local ticket, rev = header[4], first + signed(header[5])
  local statuses, now, fields = header[6] or 'r', NOW + tonumber(header[7] or 0), tonumber(header[8] or 0)
  local expected, new = STATUSES[string.sub(statuses, 1, 1)], STATUSES[string.sub(statuses, 2, 2)]

  local row = row_of(job)
  if not row or is_expired(row, now) then return 'N' end
  if gen < row.gen then return 'G ' .. text(row.gen) end
  if gen > row.gen then return 'H ' .. text(row.gen) .. ' ' .. text(row.head) end
  if is_repeat(job, row, first, count, ticket) then return 'A' end
  local fits = row.status == expected and row.rev == rev
  if not is_active(row.status) and not (fits and count == 0 and not new) then return 'T ' .. row.status end
  -- Decided on a later row than this one: the store has forgotten writes, be it of records or of fields alone.
  if first - 1 > row.head or (first - 1 == row.head and rev > row.rev) then return 'H ' .. text(row.gen) .. ' ' .. text(row.head) end
  if first - 1 < row.head or not fits then return 'B ' .. text(row.head) end

  -- From here on nothing is refused but by the first write: XADD, or HSET where there are no records.
  local before, log_is_new = row.status, false
  row.rev = rev + 1
  local set = { 'rev', text(row.rev) }
  local function put(name, value) set[#set + 1] = name; set[#set + 1] = value end
  if count > 0 then
    row.head = first + count - 1
    local id = text(gen) .. '-' .. text(row.head)
    local entry = { id, 'n', text(count), 'r', records, 't', ticket }
    if header[9] then entry[#entry + 1] = 'k'; entry[#entry + 1] = header[9] end
    -- A log that is not there yet needs a TTL.
    if first > 1 then log_is_new = not redis.call('XADD', key(job, 'log'), 'NOMKSTREAM', unpack(entry)) end
    if first == 1 or log_is_new then
      log_is_new = true
      redis.call('XADD', key(job, 'log'), unpack(entry))
    end
    put('head', text(row.head))
    put('updated', text(now))
  else
    put('w', ticket .. ' ' .. text(first))
  end
  if count > 0 or new then
    row.active = math.max(row.active, now)
    put('active', text(row.active))
  end
  if new then
    row.status = new
    put('status', new)
    if not is_active(new) then
      row.settled = now
      put('settled', text(now))
    end
  end
  local changed = row.status ~= before
  local ends = changed and not is_active(row.status)
  local ttl = ttl_of(row, now)
  local refresh = is_active(row.status) and (changed or log_is_new or math.abs(now - row.ttl_at) >= ttl / 8)
  if refresh then put('ttl_at', text(now)) end
  local index = changed or math.abs(now - row.indexed) >= INDEX_AGAIN
  if index then put('indexed', text(now)) end
  local gone = {}
  for at = 0, fields - 1 do
    local name, value = 'f:' .. ARGV[fields_at + 2 * at], ARGV[fields_at + 2 * at + 1]
    if value == 'null' then
      gone[#gone + 1] = name
    else
      put(name, text(row.rev) .. (at > 0 and '.' .. at or '') .. ':' .. value)
    end
  end
  in_chunks('HSET', job, set)
  in_chunks('HDEL', job, gone)
  if ends then expire(job, ttl) elseif refresh then extend(job, ttl) end

  if count > 0 and #records <= WAKE_BYTES_MAX then
    wake(job, table.concat({ 'e', text(gen), text(first), text(count), header[9] or '-' }, ' ') .. '\n' .. records)
  elseif count > 0 or changed then
    wake(job, 'h ' .. text(gen) .. ' ' .. text(row.head))
  end
  return index and placed(job, row) or 'A'
end

local answers, at = {}, 2
while at <= #ARGV do
  local item = ARGV[at]
  local line_end = string.find(item, '\n', 1, true)
  local header = {}
  for word in string.gmatch(string.sub(item, 1, line_end - 1), '%S+') do header[#header + 1] = word end
  local job = KEYS[1] or (settings[6] .. table.remove(header, 1) .. '}:job')
  local done, answer = pcall(append, job, header, string.sub(item, line_end + 1), at + 1)
  if not done then
    local why = type(answer) == 'table' and answer.err or tostring(answer)
    -- Nothing can be written here, for nobody: whoever sent this must hear it as what it is, and go elsewhere.
    if string.find(why, '^READONLY') or string.find(why, '^MASTERDOWN') then return redis.error_reply(why) end
    answer = 'E ' .. why
  end
  answers[#answers + 1] = answer
  at = at + 1 + 2 * tonumber(header[8] or 0)
end
return answers
