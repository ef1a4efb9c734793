-- Takes the streams whose deadline is over, earliest first, at most ARGV[2] of them: for some seconds nobody else gets
-- them. Answers: stream, its place or nothing, stream, …

local answer = {}
for _, stream in ipairs(redis.call('ZRANGEBYSCORE', key('deadlines'), '-inf', text(NOW), 'LIMIT', 0, ARGV[2])) do
  redis.call('ZADD', key('deadlines'), text(NOW + INTENT), stream)
  answer[#answer + 1] = stream
  answer[#answer + 1] = redis.call('HGET', PLACES, stream) or ''
end
return answer
