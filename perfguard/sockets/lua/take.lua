-- Use a ticket up: of many who ask, one is told what it stands for.
--
-- KEYS[1]  the ticket
-- returns  what it stands for, or false

local found = redis.call('GET', KEYS[1])
redis.call('DEL', KEYS[1])
return found
