-- Keeps a checkpoint of the current generation that covers more than the one before, and no more than the log: one of
-- records that the store has forgotten comes with a rescue, or not at all. KEYS[1]: the job.
-- ARGV[2]: `<gen> <sequence>`; ARGV[3]: the state.

local job = KEYS[1]
local gen, sequence = string.match(ARGV[2], '^(%d+) (%d+)$')
local row = row_of(job)
if not row or is_expired(row, NOW) or row.gen ~= tonumber(gen) then return 0 end
if tonumber(sequence) > row.head then return 0 end
local kept = redis.call('HGET', key(job, 'checkpoint'), 'at')
local kept_gen, kept_sequence = string.match(kept or '', '^(%d+)%-(%d+)$')
if kept_gen == gen and tonumber(kept_sequence) >= tonumber(sequence) then return 0 end
redis.call('HSET', key(job, 'checkpoint'), 'at', gen .. '-' .. sequence, 'state', ARGV[3])
redis.call('PEXPIRE', key(job, 'checkpoint'), text(math.max(redis.call('PTTL', job), TTL_MORE)))
return 1
