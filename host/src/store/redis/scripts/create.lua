-- Replaces a row by a new generation with an empty log. KEYS[1]: the job. ARGV[2]: `<gen> <previous> <ticket>`;
-- from ARGV[3] on: names and values of the new row. Answers: P … | G <gen> (0: none).

local job = KEYS[1]
local gen, previous, ticket = string.match(ARGV[2], '^(%d+) (%d+) (%S+)$')
local row = row_of(job)
if row and is_expired(row, NOW) then row = nil end
if row and row.by == ticket and row.gen == tonumber(gen) then return placed(job, row) end
if (row and row.gen or 0) ~= tonumber(previous) then return 'G ' .. text(row and row.gen or 0) end

-- A stream that was removed on purpose never has a generation again that is not newer.
local removed = tonumber(redis.call('GET', key(job, 'removed')) or 0) or 0
if removed >= tonumber(gen) then return 'G ' .. text(removed) end

local set = { 'by', ticket, 'ttl_at', text(NOW), 'indexed', text(NOW) }
for at = 3, #ARGV do set[#set + 1] = ARGV[at] end
-- Redis refuses for want of memory only what a script writes first: so that is what needs some, and what destroys is last.
local next = key(job, 'next')
in_chunks('HSET', next, set)
redis.call('DEL', job, key(job, 'log'), key(job, 'checkpoint'))
redis.call('RENAME', next, job)
row = row_of(job)
redis.call('PEXPIRE', job, text(ttl_of(row, NOW)))
wake(job, 'h ' .. gen .. ' 0')
return placed(job, row)
