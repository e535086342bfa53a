-- Takes what one writer has counted in one shard. All of it happens at once, and is replicated as one: see protocol.go.
--
-- KEYS  1 the totals: `g` generation, `s` number of shards, `i` last id, `d` time of the last disturbance, and for each
--         counted key, behind a colon, "id total start last"
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
--      11 number of keys, followed by as many keys, as many contributions and as many start times
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

-- Numbers of scripts are doubles. Beyond 15 digits, which those hold exactly, numbers are taken apart after the ninth digit
-- from the right.
local function halves(text)
  if #text <= 9 then
    return 0, tonumber(text)
  end
  return tonumber(string.sub(text, 1, -10)), tonumber(string.sub(text, -9))
end

local full = 0
local function sum(total, contribution, stored)
  local th, tl = halves(total)
  local ch, cl = halves(contribution)
  local sh, sl = halves(stored)
  local high, low = th + ch - sh, tl + cl - sl
  local carry = math.floor(low / 1000000000)
  high, low = high + carry, low - carry * 1000000000
  if high > 9223372036 or high == 9223372036 and low > 854775807 then
    full = full + 1
    return '9223372036854775807'
  end
  if high == 0 then
    return string.format('%.0f', low)
  end
  return string.format('%.0f%09.0f', high, low)
end

local function isMore(contribution, stored)
  return #contribution > #stored or #contribution == #stored and contribution > stored
end

local records = redis.call('HMGET', totals, unpack(ARGV, 12, 11 + n))
local ids, counted, starts = {}, {}, {}
local firstId = lastId
for i = 1, n do
  local record = records[i]
  if record then
    ids[i], counted[i], starts[i] = string.match(record, '^(%d+) (%d+) (%d+)')
  else
    lastId = lastId + 1
    ids[i], counted[i] = string.format('%.0f', lastId), '0'
  end
end
local stored = redis.call('HMGET', slot, unpack(ids))
local changed, contributed = {}, {}
for i = 1, n do
  local contribution, before = ARGV[11 + n + i], stored[i] or '0'
  if isMore(contribution, before) then
    local total = counted[i]
    if #total > 15 or #contribution > 15 then
      total = sum(total, contribution, before)
    else
      total = string.format('%.0f', tonumber(total) + tonumber(contribution) - tonumber(before))
    end
    local start = starts[i]
    local given = ARGV[11 + 2 * n + i]
    if not start or tonumber(given) < tonumber(start) then
      start = tonumber(given) < now and given or nowText
    end
    changed[#changed + 1] = ARGV[11 + i]
    changed[#changed + 1] = ids[i] .. ' ' .. total .. ' ' .. start .. ' ' .. nowText
    contributed[#contributed + 1] = ids[i]
    contributed[#contributed + 1] = contribution
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
