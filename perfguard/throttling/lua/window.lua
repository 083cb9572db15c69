-- Rolling windows: every one of them has room for the hit, or none counts it.
--
-- A window is a string of 6-byte numbers. With step 1 it is exact: the time of each
-- hit, the oldest first. With a larger step it has a pair for each bucket, the
-- bucket's end and the hits before it, and after the last pair the hits in all.
--
-- KEYS[i]    a window
-- ARGV[1]    now in milliseconds, or '' for the clock of Redis
-- ARGV[2]    1 to count the hit, 0 to look only
-- ARGV[3..]  for each window: limit (hits), period (ms), step (ms), cost (hits),
--            1 to count refused hits too
-- returns    {allowed 0|1, remaining hits, reset_after ms, remaining, reset_after...}
local floor, ceil = math.floor, math.ceil
local now, counting = tonumber(ARGV[1]), ARGV[2] == '1'
if not now then -- the clock of Redis: the application's hosts need not agree on the time
  local time = redis.call('TIME')
  now = time[1] * 1000 + floor(time[2] / 1000)
end
local logs, used, reply = {}, {}, {1}

local function pack(number) return struct.pack('>I6', number) end
local function number(log, at) return (struct.unpack('>I6', log, at)) end
local function rate(i)
  local at = 5 * i - 2
  local step = tonumber(ARGV[at + 2])
  return ARGV[at] + 0, ARGV[at + 1] + 0, step, ARGV[at + 3] + 0, step == 1 and 6 or 12
end

for i, key in ipairs(KEYS) do
  local limit, period, step, cost, width = rate(i)
  local log = redis.call('GET', key) or ''
  local size, gone = floor(#log / width), 0
  local ahead = size > 0 and number(log, (size - 1) * width + 1) - ceil(now / step) * step or 0
  if ahead > 0 then -- the clock went back: hits keep their ages, so that nobody gains
    log = log:gsub(width == 6 and '(......)' or '(......)(......)', function(time, before)
      return pack(number(time, 1) - ahead) .. (before or '')
    end)
    redis.call('SET', key, log, 'PX', period + step)
  end
  while gone < size and number(log, gone * width + 1) + period <= now do gone = gone + 1 end
  if gone > 0 then log = gone < size and log:sub(gone * width + 1) or '' end
  logs[i], used[i] = log, size - gone
  if width == 12 and log ~= '' then used[i] = number(log, #log - 5) - number(log, 7) end
  if used[i] + cost > limit then reply[1] = 0 end
end

for i, key in ipairs(KEYS) do
  local limit, period, step, cost, width = rate(i)
  local log, count, needed = logs[i], used[i], 1
  if counting and (reply[1] == 1 or ARGV[5 * i + 2] == '1') then
    local at, size = ceil(now / step) * step, floor(#log / width)
    if width == 6 then
      log = log .. pack(at):rep(cost)
      if #log > 6 * limit then log = log:sub(-6 * limit) end -- the newest decide
    else
      local total = size > 0 and number(log, #log - 5) or 0
      local fresh = size == 0 or number(log, size * 12 - 11) ~= at
      log = log:sub(1, size * 12) .. (fresh and pack(at) .. pack(total) or '') .. pack(total + cost)
    end
    count = width == 6 and #log / 6 or count + cost
    redis.call('SET', key, log, 'PX', period + step)
  end
  local refused = used[i] + cost > limit
  if refused then needed = count + cost - limit end
  local reset = refused and period or 0 -- a cost above the limit never fits
  if needed <= count then
    local entry, size = 1, floor(#log / width)
    while width == 6 and entry < needed
      or width == 12 and entry < size and number(log, entry * 12 + 7) - number(log, 7) < needed
    do entry = entry + 1 end
    reset = number(log, (entry - 1) * width + 1) + period - now
  end
  reply[2 * i], reply[2 * i + 1] = math.max(0, limit - count), reset
end
return reply
