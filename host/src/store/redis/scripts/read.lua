-- A page of the log. KEYS[1]: the job. ARGV[2]: `<gen> <after> <bytes>`.
-- Answers: nothing (gone) | { gen, head } (the cursor is not of this log) | { gen, head, { id, { name, value, … } }, … }.

local job = KEYS[1]
local gen, after, bytes_max = string.match(ARGV[2], '^(%d+) (%d+) (%d+)$')
local row = row_of(job)
if not row or is_expired(row, NOW) then return {} end
local page = { text(row.gen), text(row.head) }
if row.gen ~= tonumber(gen) or tonumber(after) > row.head then return page end
local from, bytes = '(' .. gen .. '-' .. after, 0
page[3] = 'page'
while true do
  local found = redis.call('XRANGE', key(job, 'log'), from, gen .. '-18446744073709551615', 'COUNT', 16)
  for _, entry in ipairs(found) do
    for at = 2, #entry[2], 2 do
      if entry[2][at - 1] == 'r' then bytes = bytes + math.max(#entry[2][at], 1) end
    end
    if bytes > tonumber(bytes_max) and #page > 3 then return page end
    page[#page + 1] = entry
    from = '(' .. entry[1]
  end
  if #found < 16 then return page end
end
