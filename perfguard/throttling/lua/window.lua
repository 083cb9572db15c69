-- Rolling windows: every one of them has room for the hit, or none counts it.
--
-- An exact window (step 1) is a list of the times of its hits, the newest first. A
-- window in buckets is a string of 6-byte numbers: for each bucket, the oldest first,
-- its end and the hits before it; after the last bucket the hits in all.
--
-- KEYS[i]    a window
-- ARGV[1]    now in milliseconds, or '' for the clock of Redis
-- ARGV[2]    1 to count the hit, 0 to look only
-- ARGV[3..]  for each window: limit (hits), period (ms), step (ms), cost (hits),
--            1 to count refused hits too
-- returns    {allowed 0|1, remaining hits, reset_after ms, remaining, reset_after...}
local call, now, counting = redis.call, tonumber(ARGV[1]), ARGV[2] == '1'
if not now then -- the application's hosts need not agree on the time
  local time = call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local allowed, used, first, logs, reply = 1, {}, {}, {}, {}

local function arguments(i)
  local at = 5 * i - 2
  return ARGV[at] + 0, ARGV[at + 1] + 0, ARGV[at + 2] + 0, ARGV[at + 3] + 0
end
local function pack(number) return struct.pack('>I6', number) end
local function number(log, at) return (struct.unpack('>I6', log, at)) end

-- Both give the hits in the window and the oldest of them. Hits that have left are
-- dropped for good. A clock that went back leaves each hit the age that it had at the
-- newest one, so that nobody gains.
local function load_exact(key, period)
  local oldest = call('LINDEX', key, -1)
  if not oldest then return 0 end
  local ahead = call('LINDEX', key, 0) - now
  if ahead > 0 then
    local times = call('LRANGE', key, 0, -1)
    call('DEL', key)
    for _, time in ipairs(times) do call('RPUSH', key, time - ahead) end
    call('PEXPIRE', key, period)
    oldest = oldest - ahead
  end
  while oldest and oldest + period <= now do
    call('RPOP', key)
    oldest = call('LINDEX', key, -1)
  end
  return oldest and call('LLEN', key) or 0, oldest or nil
end

local function load_buckets(key, period, step)
  local log = call('GET', key)
  if not log then return 0, nil, '' end
  local size, gone = math.floor(#log / 12), 0
  -- By so much at least: the newest hit is no older than the start of its bucket.
  local ahead = number(log, size * 12 - 11) - step + 1 - now
  if ahead > 0 then
    log = log:gsub('(......)(......)', function(time, before)
      return pack(number(time, 1) - ahead) .. before
    end)
  end
  while gone < size and number(log, gone * 12 + 1) + period <= now do gone = gone + 1 end
  if gone == size then
    call('DEL', key)
    return 0, nil, ''
  end
  if ahead > 0 or gone > 0 then
    log = log:sub(gone * 12 + 1)
    call('SET', key, log, 'PX', period + step)
  end
  return number(log, #log - 5) - number(log, 7), number(log, 1), log
end

local function add_exact(key, period, cost, limit)
  local count
  for _ = 1, math.min(cost, limit) do count = call('LPUSH', key, now) end
  if count > limit then -- of refused hits, the newest decide
    call('LTRIM', key, 0, limit - 1)
    count = limit
  end
  call('PEXPIRE', key, period)
  return count
end

local function add_buckets(key, period, cost, step, log)
  local stamp, size = math.ceil(now / step) * step, math.floor(#log / 12)
  local total = size > 0 and number(log, #log - 5) or 0
  local buckets = log:sub(1, size * 12)
  -- Never before the newest, also where the clock went back.
  if size == 0 or number(log, size * 12 - 11) < stamp then
    buckets = buckets .. pack(stamp) .. pack(total)
  end
  log = buckets .. pack(total + cost)
  call('SET', key, log, 'PX', period + step)
  return log
end

-- The time of the hit, or the end of the bucket, with which as many have left.
local function nth(key, step, log, needed)
  if step == 1 then return call('LINDEX', key, -needed) end
  local bucket, size = 1, math.floor(#log / 12)
  while bucket < size and number(log, bucket * 12 + 7) - number(log, 7) < needed do
    bucket = bucket + 1
  end
  return number(log, bucket * 12 - 11)
end

for i = 1, #KEYS do
  local key = KEYS[i]
  local limit, period, step, cost = arguments(i)
  local load = step == 1 and load_exact or load_buckets
  used[i], first[i], logs[i] = load(key, period, step)
  if used[i] + cost > limit then allowed = 0 end
end

for i = 1, #KEYS do
  local key = KEYS[i]
  local limit, period, step, cost = arguments(i)
  local count, oldest, log, needed = used[i], first[i], logs[i], 1
  if counting and (allowed == 1 or ARGV[5 * i + 2] == '1') then
    if step == 1 then
      count = add_exact(key, period, cost, limit)
      oldest = oldest or now
    else
      local hits = math.min(cost, limit) -- more would fill it no more, and overflow
      log = add_buckets(key, period, hits, step, log)
      count, oldest = count + hits, number(log, 1)
    end
  end
  -- A refused hit that was counted may have filled a window that had room.
  local refused = allowed == 0 and count + cost > limit
  if refused then needed = count + cost - limit end
  local reset = refused and period or 0 -- a cost above the limit never fits
  if needed <= count then
    -- Refused hits that were counted may have pushed out the oldest.
    if needed > 1 or refused then oldest = nth(key, step, log, needed) end
    reset = oldest + period - now
  end
  reply[2 * i], reply[2 * i + 1] = math.max(0, limit - count), reset
end
reply[1] = allowed
return reply
