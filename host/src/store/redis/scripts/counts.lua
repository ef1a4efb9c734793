-- How many streams stand in the lists named from ARGV[2] on.

local counts = {}
for at = 2, #ARGV do counts[#counts + 1] = redis.call('ZCARD', key(ARGV[at])) end
return counts
