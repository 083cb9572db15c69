-- What was revoked, told to Redis. It only ever adds: nothing that was revoked becomes
-- good again, whatever comes late or twice.
--
-- KEYS[1]   the user's state: "<generation>", then the era or fence if there is one
-- KEYS[2..] a key for each token or session that was revoked
-- ARGV[1]   generation, or 0 to leave it
-- ARGV[2..] when each of the others may be forgotten: Unix time in ms; 0 is never
-- returns   1

local now = redis.call('TIME')
local soon = now[1] * 1000 + 2000
for i = 2, #KEYS do
    local at = tonumber(ARGV[i])
    if at == 0 then
        redis.call('SET', KEYS[i], '1')
    else
        -- A key whose time has come would be deleted at once.
        redis.call('SET', KEYS[i], '1', 'PXAT', string.format('%.0f', math.max(at, soon)))
    end
end
if ARGV[1] ~= '0' then
    -- Never a state that would be believed: only a refill knows all.
    local state = redis.call('GET', KEYS[1])
    local old, rest = string.match(state or '0', '^(%d+)(.*)$')
    if not state then
        redis.call('SET', KEYS[1], ARGV[1], 'EX', 86400)
    elseif tonumber(old) < tonumber(ARGV[1]) then
        -- A fence ends when it would have ended.
        redis.call('SET', KEYS[1], ARGV[1] .. rest, 'KEEPTTL')
    end
end
return 1
