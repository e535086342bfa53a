-- Takes what one writer has counted in one shard. All of it happens at once, and is replicated as one: see protocol.go.
--
-- KEYS  1 the totals: `g` generation, `s` number of shards, `i` last id, `d` time of the last disturbance, and for each
--         counted key, behind a colon, a record: id (4 bytes), total / 1e9 (5), total % 1e9 (4), start (6), last (6)
--       2 the writers: `g` generation, and for each writer, behind a colon, "sequence token seen"
--       3 the slot of this writer: what it has contributed, by id
-- ARGV  1 name of the writer
--       2 number of shards
--       3 generation that the writer knows, empty for none
--       4 generation to begin if there is none
--       5 token of the writer's last acknowledged flush, empty for none
--       6 its sequence, 0 for none
--       7 token of this flush; the one before when it brings nothing
--       8 time of the last acknowledgement
--       9 how long a slot lives without its writer
--      10 how long a writer is remembered
--      11 number of keys, followed by as many keys and as many contributions; one that is the first of this writer to its
--         key has the time when that was first counted behind a space
-- Times are Unix milliseconds by the server's clock, periods milliseconds.
--
-- Returns status, generation, the server's time, how many totals were full.
local totals, writers, slot = KEYS[1], KEYS[2], KEYS[3]
local writer, known, acked, current = ':' .. ARGV[1], ARGV[3], ARGV[5], ARGV[7]
local ackedSequence, n = tonumber(ARGV[6]), tonumber(ARGV[11])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local nowText = string.format('%.0f', now)

-- The shard.
local meta = redis.call('HMGET', totals, 'g', 's', 'i')
local generation, lastId = meta[1], tonumber(meta[3] or 0)
if not generation then
  generation = ARGV[4]
  redis.call('HSET', totals, 'g', generation, 's', ARGV[2])
elseif meta[2] ~= ARGV[2] then
  return {'shards', meta[2] or '', nowText, 0}
end
if known ~= '' and known ~= generation then
  redis.call('HSET', totals, 'd', nowText)
end

-- The writer.
local state = redis.call('HMGET', writers, 'g', writer)
local head, lost = state[2], false
if state[1] ~= generation then
  redis.call('DEL', writers)
  redis.call('HSET', writers, 'g', generation)
  head, lost = false, known == generation
end
local status, sequence, token = 'ok', 0, ''
if head then
  local s
  s, token = string.match(head, '^(%d+) (%S*)')
  sequence = tonumber(s)
  if token ~= acked and token ~= current then
    if sequence >= ackedSequence then
      return {'fenced', generation, nowText, 0}
    end
    status = 'behind'
  end
  if redis.call('EXISTS', slot) == 0 then
    return {token == current and 'gone after' or 'gone', generation, nowText, 0}
  end
elseif known == generation then
  if lost or now - tonumber(ARGV[8]) > tonumber(ARGV[10]) then
    return {'gone', generation, nowText, 0}
  end
  status = 'behind'
end
if not head then
  redis.call('DEL', slot)
end
if status == 'behind' then
  redis.call('HSET', totals, 'd', nowText)
end

if n == 0 then
  if head then
    redis.call('HSET', writers, writer, sequence .. ' ' .. token .. ' ' .. nowText)
    redis.call('PEXPIRE', slot, ARGV[9])
  end
  return {status, generation, nowText, 0}
end

-- Forget a few writers that are long gone, whenever one comes.
if not head then
  local sample = redis.call('HRANDFIELD', writers, 4, 'WITHVALUES')
  for i = 1, #sample, 2 do
    local seen = string.match(sample[i + 1], '^%d+ %S* (%d+)$')
    if seen and now - tonumber(seen) > tonumber(ARGV[10]) then
      redis.call('HDEL', writers, sample[i])
    end
  end
end

-- Numbers of scripts are doubles, so a total is in two parts, high * 1e9 + low, which stay exact. What is below 1e15 is one
-- number meanwhile.
local function halves(text)
  if #text <= 9 then
    return 0, tonumber(text)
  end
  return tonumber(string.sub(text, 1, -10)), tonumber(string.sub(text, -9))
end

local full = 0
local function add(high, low, contribution, before)
  local ch, cl = halves(contribution)
  local bh, bl = halves(before)
  high, low = high + ch - bh, low + cl - bl
  local carry = math.floor(low / 1e9)
  high, low = high + carry, low - carry * 1e9
  if high > 9223372036 or high == 9223372036 and low > 854775807 then
    full = full + 1
    return 9223372036, 854775807
  end
  return high, low
end

-- A record is id, high, low, start, last: see parseRecord.
local pack, unpackRecord, match = struct.pack, struct.unpack, string.match
local floor, tonumber = math.floor, tonumber
local records = redis.call('HMGET', totals, unpack(ARGV, 12, 11 + n))
local ids, isNew = {}, {}
local firstId = lastId
for i = 1, n do
  local record = records[i]
  if record then
    ids[i] = string.sub(record, 1, 4)
  else
    lastId = lastId + 1
    ids[i] = pack('>I4', lastId)
  end
end
local stored = redis.call('HMGET', slot, unpack(ids))
local changed, contributed, k = {}, {}, 0
for i = 1, n do
  local contribution, before, record = ARGV[11 + n + i], stored[i] or '0', records[i]
  local start = now
  if #contribution >= 15 then -- a time has 13 digits
    local c, s = match(contribution, '^(%d+) (%d+)$')
    if c then
      contribution, start = c, tonumber(s)
    end
  end
  if #contribution > #before or #contribution == #before and contribution > before then
    local high, low, first = 0, 0, now
    if record then
      high, low, first = unpackRecord('>I5I4I6', record, 5)
    end
    if start < first then
      first = start
    end
    if high < 1e6 and #contribution <= 15 and #before <= 15 then
      local total = high * 1e9 + low + tonumber(contribution) - tonumber(before)
      high = floor(total / 1e9)
      low = total - high * 1e9
    else
      high, low = add(high, low, contribution, before)
    end
    changed[k + 1] = ARGV[11 + i]
    changed[k + 2] = pack('>c4I5I4I6I6', ids[i], high, low, first, now)
    contributed[k + 1] = ids[i]
    contributed[k + 2] = contribution
    k = k + 2
  end
end
if #changed > 0 then
  redis.call('HSET', totals, unpack(changed))
  redis.call('HSET', slot, unpack(contributed))
end
if lastId > firstId then
  redis.call('HSET', totals, 'i', string.format('%.0f', lastId))
end
redis.call('PEXPIRE', slot, ARGV[9])
redis.call('HSET', writers, writer, string.format('%.0f', ackedSequence + 1) .. ' ' .. current .. ' ' .. nowText)
return {status, generation, nowText, full}
