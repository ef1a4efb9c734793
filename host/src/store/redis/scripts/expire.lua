-- Sets when a generation is forgotten after its end. KEYS[1]: the job. ARGV[2]: `<gen> <expires>`.
-- Answers: P … when the index must hear of it, else A.

local job = KEYS[1]
local gen, expires = string.match(ARGV[2], '^(%d+) (%d+)$')
local row = row_of(job)
if not row or is_expired(row, NOW) or row.gen ~= tonumber(gen) then return 'A' end
redis.call('HSET', job, 'expires', expires)
row.expires = tonumber(expires)
if is_active(row.status) then return 'A' end
expire(job, ttl_of(row, NOW))
return placed(job, row)
