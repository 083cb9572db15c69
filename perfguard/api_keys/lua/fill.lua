-- Store a record, if nothing happened to the key since its fence was set. Whatever
-- changes a key deletes its place, and the fence with it; so do FLUSHALL and time.
--
-- KEYS[1]  the record
-- ARGV[1]  the fence
-- ARGV[2]  the record
-- ARGV[3]  its life, milliseconds
-- returns  1, or 0 when the fence is gone

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
