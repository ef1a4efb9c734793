-- A page of a list, newest first. ARGV[2]: the list's name; ARGV[3]: how many; ARGV[4], ARGV[5]: created and stream of the
-- place after which it begins, or empty. Answers: stream, created, stream, …

local list, from = key(ARGV[2]), 0
if ARGV[5] ~= '' then
  -- The rank of a place that may be gone: it is put there for a moment. Nobody sees it.
  local was = redis.call('ZSCORE', list, ARGV[5])
  redis.call('ZADD', list, ARGV[4], ARGV[5])
  from = redis.call('ZREVRANK', list, ARGV[5]) + 1
  if not was then
    redis.call('ZREM', list, ARGV[5])
    from = from - 1
  elseif tonumber(was) ~= tonumber(ARGV[4]) then
    redis.call('ZADD', list, was, ARGV[5])
    -- Where it belongs above the page, it is above again.
    if tonumber(was) < tonumber(ARGV[4]) then from = from - 1 end
  end
end
return redis.call('ZREVRANGE', list, from, from + tonumber(ARGV[3]) - 1, 'WITHSCORES')
