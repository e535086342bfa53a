-- Drops keys of one shard that nobody has counted for long, some at a call: a sweep is as many calls as it takes until the cursor is
-- 0 again. Any writer may sweep; the first that comes does, once for all.
--
-- Time is that of the server's clock, which may be set, or be that of another server after a failover. And while no writer was there,
-- nobody counted. So nothing is dropped but after sweeps that went on without a gap for as long as a key has to be idle.
--
-- KEYS  1 the totals: see flush.lua. Besides, `b` when a sweep last began, `h` time of the last call, `c` since when there was no gap
-- ARGV  1 how long a key is idle before it is dropped
--       2 how long from one sweep to the next. A gap is longer than twice that
--       3 cursor, 0 to begin a sweep
--       4 how many fields to look at, about
-- Times are Unix milliseconds, periods milliseconds.
--
-- Returns the next cursor, 0 if there is nothing more to do for now, and how many keys were dropped.
local totals, idle, interval, cursor = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local nowText = string.format('%.0f', now)
if redis.call('EXISTS', totals) == 0 then
  return {'0', 0}
end

redis.call('HDEL', totals, '') -- takes nothing; but a server whose memory is full lets a script write that has deleted before
local meta = redis.call('HMGET', totals, 'b', 'h', 'c')
local began, heard, since = tonumber(meta[1]), tonumber(meta[2]), tonumber(meta[3])
redis.call('HSET', totals, 'h', nowText)
if not heard or now < heard or now - heard > 2 * interval then
  redis.call('HSET', totals, 'b', nowText, 'c', nowText)
  return {'0', 0}
end
if cursor == '0' then
  if now - began < interval then
    return {'0', 0}
  end
  redis.call('HSET', totals, 'b', nowText)
end
if now - since < idle then
  return {'0', 0}
end

local page = redis.call('HSCAN', totals, cursor, 'COUNT', ARGV[4])
local keys, fields = {}, {}
for i = 1, #page[2], 2 do
  if string.sub(page[2][i], 1, 1) == ':' then
    keys[#keys + 1], fields[#fields + 1] = page[2][i], '#' .. page[2][i + 1]
  end
end
local dropped = 0
for i, record in ipairs(#fields > 0 and redis.call('HMGET', totals, unpack(fields)) or {}) do
  local last = record and struct.unpack('>I6', record, 16) or 0
  if last > now then -- the clock was ahead
    redis.call('HSET', totals, fields[i], string.sub(record, 1, 15) .. struct.pack('>I6', now))
  elseif now - last >= idle then
    redis.call('HDEL', totals, keys[i], fields[i])
    dropped = dropped + 1
  end
end
return {page[1], dropped}
