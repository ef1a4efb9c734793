-- Tells on the channel KEYS[1] what ARGV[2] says; ARGV[1] is PUBLISH or, in a Cluster, SPUBLISH.
return redis.call(ARGV[1], KEYS[1], ARGV[2])
