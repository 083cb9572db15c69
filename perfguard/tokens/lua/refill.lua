-- All that the journal knows of a user, and the era from which it may be believed.
--
-- KEYS[1]   the user's state
-- KEYS[2..] a key for each token and session that was revoked
-- ARGV[1]   the fence that was set before the journal was read
-- ARGV[2]   generation
-- ARGV[3]   era
-- ARGV[4..] when each of the others may be forgotten: Unix time in ms; 0 is never
-- returns   1, or 0 when the fence is gone: Redis was emptied, or the refill took long

local state = redis.call('GET', KEYS[1]) or '0'
local generation, fence = string.match(state, '^(%d+) (.*)$')
if fence ~= ARGV[1] then
    return 0
end
local now = redis.call('TIME')
local soon = now[1] * 1000 + 2000
for i = 2, #KEYS do
    local at = tonumber(ARGV[i + 2])
    if at == 0 then
        redis.call('SET', KEYS[i], '1')
    else
        redis.call('SET', KEYS[i], '1', 'PXAT', string.format('%.0f', math.max(at, soon)))
    end
end
-- A higher generation was pushed while the journal was read.
if tonumber(generation) < tonumber(ARGV[2]) then
    generation = ARGV[2]
end
redis.call('SET', KEYS[1], generation .. ' ' .. ARGV[3], 'EX', 86400)
return 1
