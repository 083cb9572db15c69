-- Keep a ticket until it is used, or its time is over.
--
-- KEYS[1]  the ticket
-- ARGV[1]  what it stands for
-- ARGV[2]  how long it lives, milliseconds
-- returns  1, or 0 when there is one already

return redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) and 1 or 0
