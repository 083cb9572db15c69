-- Before a refill: a mark that vanishes with everything else if Redis is emptied while
-- the journal is read. One refill at a time.
--
-- KEYS[1]  the user's state
-- ARGV[1]  the fence: "~" and a random word
-- returns  1, or 0 while another refill is under way

local state = redis.call('GET', KEYS[1]) or '0'
local generation, rest = string.match(state, '^(%d+)(.*)$')
if string.sub(rest, 1, 2) == ' ~' then
    return 0
end
redis.call('SET', KEYS[1], generation .. ' ' .. ARGV[1], 'PX', 5000)
return 1
