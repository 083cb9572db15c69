-- Reserve the place of a record for whoever is about to read the database.
--
-- KEYS[1]  the record
-- ARGV[1]  what was seen there, empty for nothing
-- ARGV[2]  the fence: a word of one reader's own
-- ARGV[3]  how long it stands, milliseconds
-- returns  1, or 0 when the place has changed since it was seen

if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
