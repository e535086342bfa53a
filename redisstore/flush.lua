-- Takes what one writer has counted in one shard. All of it happens at once, and is replicated as one: see protocol.go.
--
-- KEYS  1 the totals: `g` generation, `s` number of shards, `i` last id, `d` time of the last disturbance, and for each
--         counted key, behind a colon, a record: id (4 bytes), total / 1e9 (5), total % 1e9 (4), start (6), last (6)
--       2 the writers: `g` generation, and for each writer, behind a colon, "sequence token seen"
--       3 the slot of this writer: what it has contributed, by id
-- ARGV  1 name of the writer
--       2 number of shards
--       3 generation that the flush is for, empty for none
--       4 name for a generation to begin if there is none
--       5 token that the writer last heard the server to have, empty for none
--       6 sequence of its last acknowledged flush, 0 for none
--       7 token of this flush; the one before when it brings nothing
--       8 time of the last answer
--       9 how long a slot lives without its writer
--      10 how long a writer is remembered
--      11 "1" if the writer does not know what its slot has; otherwise that is what it had when its token became that of 5
--      12 for each key what is new since: new / 1e9 (5 bytes), new % 1e9 (4), and when the writer first counted it (6)
--      13 the keys, and behind them as many contributions
-- Times are Unix milliseconds by the server's clock, periods milliseconds.
--
-- Returns status, generation, the server's time, how many totals were full, the token that the server has.
local totals, writers, slot = KEYS[1], KEYS[2], KEYS[3]
local writer, known, acked, current = ':' .. ARGV[1], ARGV[3], ARGV[5], ARGV[7]
local deltas, n = ARGV[12], (#ARGV - 12) / 2
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local nowText = string.format('%.0f', now)

-- The shard.
local meta = redis.call('HMGET', totals, 'g', 's', 'i')
local generation, lastId = meta[1], tonumber(meta[3] or 0)
if not generation then
  generation = ARGV[4] .. '.' .. clock[1] .. '.' .. clock[2] -- what comes late begins no earlier one once more
  redis.call('HSET', totals, 'g', generation, 's', ARGV[2])
  redis.call('DEL', writers)
  redis.call('HSET', writers, 'g', generation)
elseif meta[2] ~= ARGV[2] then
  return {'shards', meta[2] or '', nowText, 0, ''}
end
if known ~= generation then
  if known ~= '' then
    redis.call('HSET', totals, 'd', nowText)
  end
  return {'wiped', generation, nowText, 0, ''}
end

-- The writer. Its token is that of the last flush that was taken, so with the token it is known what its slot has.
local state = redis.call('HMGET', writers, 'g', writer)
if state[1] ~= generation then -- somebody has deleted them
  redis.call('DEL', writers)
  redis.call('HSET', writers, 'g', generation)
  return {'gone', generation, nowText, 0, ''}
end
local head = state[2]
if head then
  local sequence, token = string.match(head, '^(%d+) (%S*)')
  if token ~= acked and token ~= current then
    if tonumber(sequence) >= tonumber(ARGV[6]) then
      return {'fenced', generation, nowText, 0, ''}
    end
    redis.call('HSET', totals, 'd', nowText)
    return {'behind', generation, nowText, 0, token}
  end
  if redis.call('EXISTS', slot) == 0 then
    return {token == current and 'gone after' or 'gone', generation, nowText, 0, ''}
  end
  if token == current then -- it has been taken before, or brings nothing
    redis.call('HSET', writers, writer, sequence .. ' ' .. token .. ' ' .. nowText)
    redis.call('PEXPIRE', slot, ARGV[9])
    return {'ok', generation, nowText, 0, token}
  end
else
  if now - tonumber(ARGV[8]) > tonumber(ARGV[10]) then
    return {'gone', generation, nowText, 0, ''}
  end
  if acked ~= '' then
    redis.call('HSET', totals, 'd', nowText)
    return {'behind', generation, nowText, 0, ''}
  end
  if n == 0 then
    return {'ok', generation, nowText, 0, ''}
  end
  redis.call('DEL', slot)
  -- Forget a few writers that are long gone, whenever one comes.
  local sample = redis.call('HRANDFIELD', writers, 4, 'WITHVALUES')
  for i = 1, #sample, 2 do
    local seen = string.match(sample[i + 1], '^%d+ %S* (%d+)$')
    if seen and now - tonumber(seen) > tonumber(ARGV[10]) then
      redis.call('HDEL', writers, sample[i])
    end
  end
end

-- Numbers of scripts are doubles, so a total is in two parts, high * 1e9 + low, which stay exact.
local function halves(text)
  if #text <= 9 then
    return 0, tonumber(text)
  end
  return tonumber(string.sub(text, 1, -10)), tonumber(string.sub(text, -9))
end

-- What is new if the slot has `before`, which may be as much or more.
local function difference(contribution, before)
  if #contribution < #before or #contribution == #before and contribution <= before then
    return 0, 0
  end
  local ch, cl = halves(contribution)
  local bh, bl = halves(before)
  if cl < bl then
    ch, cl = ch - 1, cl + 1e9
  end
  return ch - bh, cl - bl
end

local keys = 12
local contributions = keys + n
local records = redis.call('HMGET', totals, unpack(ARGV, keys + 1, contributions))
local stored -- what the slot has; nil = the writer knows
if not head then
  stored = {}
elseif ARGV[11] == '1' then
  local ids = {}
  for i = 1, n do
    ids[i] = records[i] and string.sub(records[i], 1, 4) or '' -- an id has 4 bytes, so the slot has nothing there
  end
  stored = redis.call('HMGET', slot, unpack(ids))
end

local pack, parse = struct.pack, struct.unpack
local changed, contributed, k = {}, {}, 0
local full, firstId = 0, lastId
for i = 1, n do
  local newHigh, newLow, start = parse('>I5I4I6', deltas, 15 * i - 14)
  if stored then
    newHigh, newLow = difference(ARGV[contributions + i], stored[i] or '0')
  end
  if newHigh > 0 or newLow > 0 then
    local id, high, low, first
    if records[i] then
      id, high, low, first = parse('>c4I5I4I6', records[i])
    else
      lastId = lastId + 1
      id, high, low, first = pack('>I4', lastId), 0, 0, now
    end
    if start < first then
      first = start
    end
    high, low = high + newHigh, low + newLow
    if low >= 1e9 then
      high, low = high + 1, low - 1e9
    end
    if high >= 9223372036 and (high > 9223372036 or low > 854775807) then
      full, high, low = full + 1, 9223372036, 854775807
    end
    changed[k + 1] = ARGV[keys + i]
    changed[k + 2] = pack('>c4I5I4I6I6', id, high, low, first, now)
    contributed[k + 1] = id
    contributed[k + 2] = ARGV[contributions + i]
    k = k + 2
  end
end
if k > 0 then
  redis.call('HSET', totals, unpack(changed))
  redis.call('HSET', slot, unpack(contributed))
end
if lastId > firstId then
  redis.call('HSET', totals, 'i', string.format('%.0f', lastId))
end
redis.call('PEXPIRE', slot, ARGV[9])
redis.call('HSET', writers, writer, string.format('%.0f', ARGV[6] + 1) .. ' ' .. current .. ' ' .. nowText)
return {'ok', generation, nowText, full, current}
