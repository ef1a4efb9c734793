-- Gives back what the store has forgotten. KEYS[1]: the job. ARGV[2]: `<gen> <head> <rev> <ticket>`; ARGV[3]: the checkpoint;
-- ARGV[4]: `<count> [<kinds>]` of the last entry, or empty; ARGV[5]: its records; from ARGV[6] on: the row.
-- Answers: P … | N (removed on purpose) | G <gen> | T <status> | B <head>.

local job = KEYS[1]
local gen, head, rev, ticket = string.match(ARGV[2], '^(%d+) (%d+) (%d+) (%S+)$')
local removed = tonumber(redis.call('GET', key(job, 'removed')) or 0) or 0
if removed >= tonumber(gen) then return 'N' end
local row = row_of(job)
local stays = row and row.gen == tonumber(gen)
if row and row.gen > tonumber(gen) then return 'G ' .. text(row.gen) end
-- The repeat of a rescue that was done.
if stays and row.head == tonumber(head) and redis.call('HGET', job, 'rescued') == ticket then return placed(job, row) end
if stays and is_expired(row, NOW) then return 'N' end
if stays and not is_active(row.status) then return 'T ' .. row.status end
if stays and (row.head > tonumber(head) or (row.head == tonumber(head) and row.rev >= tonumber(rev))) then
  return 'B ' .. text(row.head)
end

-- A DEL first: after it Redis refuses nothing for want of memory. What was acknowledged is given back, however full it is.
local next = key(job, 'next')
redis.call('DEL', next)
local set = { 'ttl_at', text(NOW), 'indexed', text(NOW), 'rescued', ticket }
for at = 6, #ARGV do set[#set + 1] = ARGV[at] end
in_chunks('HSET', next, set)
if stays then
  redis.call('HSET', next, 'by', row.by or '')
  if row.w then redis.call('HSET', next, 'w', row.w) end
  if row.expires then redis.call('HSET', next, 'expires', text(row.expires)) end
  -- Two different rows never have the same revision.
  redis.call('HSET', next, 'rev', text(math.max(tonumber(rev), row.rev + 1)))
else
  redis.call('DEL', key(job, 'log'))
end
redis.call('DEL', job, key(job, 'checkpoint'))
redis.call('RENAME', next, job)
redis.call('HSET', key(job, 'checkpoint'), 'at', gen .. '-' .. head, 'state', ARGV[3])
if ARGV[4] ~= '' then
  local count, kinds = string.match(ARGV[4], '^(%d+) ?(%d*)$')
  local entry = { gen .. '-' .. head, 'n', count, 'r', ARGV[5], 't', ticket }
  if kinds ~= '' then entry[#entry + 1] = 'k'; entry[#entry + 1] = kinds end
  redis.call('XADD', key(job, 'log'), unpack(entry))
end
row = row_of(job)
expire(job, ttl_of(row, NOW))
wake(job, 'h ' .. gen .. ' ' .. head)
return placed(job, row)
