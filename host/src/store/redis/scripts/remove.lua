-- Forgets a stream. KEYS[1]: the job. ARGV[2]: `<gen> <why>`; why: `asked`, or `swept` (only when its retention is over).
-- Answers 1 when it was there to be seen, else 0. What was forgotten stays so for an hour: no late writer brings it back.

local job = KEYS[1]
local gen, why = string.match(ARGV[2], '^(%d+) (%a+)$')
local row = row_of(job)
if not row or row.gen ~= tonumber(gen) then return 0 end
local expired = is_expired(row, NOW)
if why == 'swept' and not expired then return 0 end
redis.call('DEL', job, key(job, 'log'), key(job, 'checkpoint'), key(job, 'present'))
-- After the DEL, which is never refused, Redis refuses nothing for want of memory.
redis.call('SET', key(job, 'removed'), gen, 'PX', REMOVED_TTL)
wake(job, 'g ' .. gen)
return expired and 0 or 1
