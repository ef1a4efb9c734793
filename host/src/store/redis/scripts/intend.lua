-- Says that the status of a stream is about to change: the sweep looks at it soon, whatever becomes of the writer.
-- ARGV[2]: stream.

deadline_before(ARGV[2], NOW + INTENT)
return 1
