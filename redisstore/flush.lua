-- Takes what one writer has counted in one shard. All of it happens at once, and is replicated as one: see protocol.go.
--
-- KEYS  1 the totals: `g` generation, `s` number of shards, `i` last id, `e` epoch of the writers, `d` when the last
--         resync began, `f` when the last of the forgotten writers was seen, and what forget.lua notes; for each counted key, after
--         a colon, its id (4 bytes); and for each id, after a number sign, a record: total / 1e9 (5 bytes), total % 1e9 (4),
--         start (6), last (6). A key and its record come and go together
--       2 the writers: `g` generation and epoch, and for each writer, after a colon, its record: "sequence token seen"
--       3 the slot of this writer in this generation, a string of places. The writer gives a key a place, and gives it to another
--         when that key was dropped: contribution / 1e9 (5 bytes), contribution % 1e9 (4), tenant (4), a number that no other key has
--         had in this place
-- ARGV  1 name of the writer
--       2 number of shards
--       3 generation that the flush is for, empty for none
--       4 name for a generation to begin if there is none
--       5 token that the writer last heard the server to have, empty for none
--       6 sequence of its last acknowledged flush, 0 for none; past those of flushes that it has given up
--       7 token of this flush; a heartbeat has that of 5
--       8 time of the last answer
--       9 after which time without a flush or heartbeat a slot expires
--      10 how long a writer is remembered
--      11 session of the writer: what tokens of this process begin with
--      12 "1" if the amounts are absolute: contributions, of which is added what the slot does not have; otherwise they are what is
--         new since the token of 5
--      13 epoch of the writers that the writer knows
--      14 number of keys
--      15 for each key: amount / 1e9 (5 bytes), amount % 1e9 (4), when the writer first counted it (6), 0 where the server has been
--         told so, the number of its place (4), its id (4), 0 for one that the writer does not know
--      16 for each key, if the amounts are absolute: what its place would have that has nothing new. Of the contribution
--         that is what has been forgotten
--      17 the keys without an id, then what to write into the slot: offset, bytes, offset, bytes ...
-- Times are Unix milliseconds by the server's clock, periods milliseconds. All numbers of bytes are big-endian.
--
-- Returns status, generation, the server's time, how many totals were full, the token that the server has, epoch of the writers,
-- ids of the keys that had none; after "forgotten", the numbers of the keys that are missing, of which the first is 1, as ids are.
--
-- The first of these cases that applies decides. R is the token in the record of the writer, A that of ARGV 5, F that of ARGV 7.
--
--   shard             record        slot     token                  answer         what the writer does
--   other number                                                    shards         reports the error
--   other generation                                                wiped          a full resync
--   same              there                  R is of another        fenced         goes on under a new name: the other process owns
--                                            session, not older                    the old one
--   same              there         expired  R is F                 expired after  goes on under a new name, with what is unsent
--                                            R is not F             expired        the same, and this flush is unsent
--   same              there         there    R is neither A nor F   rolled back    a full resync
--   same              there         there    R is F                 ok             nothing: the flush was taken before
--   same              forgotten     expired                         expired        see above
--   same              lost          lost     A is not empty         rolled back    a full resync
--   same              lost          there    amounts not absolute   rolled back    a full resync
--   same              there or new           a key is missing       forgotten      begins the key anew, and sends the flush again
--   same              there or new                                  ok             takes over the ids
--
-- An example. A writer has counted 5 of a key and sends them under token s.1: the total is 5, and so is the place in the slot. It counts 2
-- more and sends 2 under s.2: 7 and 7, but the answer is lost. It sends s.2 again. R is s.2: the flush was taken, and the answer is ok.
-- The server fails over to a replica that has 5, 5 and s.1. The writer counts 1 and sends it under s.3, with A = s.2. R is s.1: rolled
-- back. So it sends its contribution, 8, under s.4 with A = s.1: the slot has 5 of it, so 3 are added, and the total is 8.
local totals, writers, slot = KEYS[1], KEYS[2], KEYS[3]
local writer, known, acked, current = ':' .. ARGV[1], ARGV[3], ARGV[5], ARGV[7]
local absolute, n, amounts, nothingNew, firstKey = ARGV[12] == '1', tonumber(ARGV[14]), ARGV[15], ARGV[16], 17
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local nowText = string.format('%.0f', now)

-- The shard.
local meta = redis.call('HMGET', totals, 'g', 's', 'i', 'e', 'f', 'h')
local generation, lastId, epoch, forgotten = meta[1], tonumber(meta[3] or 0), tonumber(meta[4] or 0), tonumber(meta[5] or 0)
local function answer(status, token, full, ids)
  return {status, generation, nowText, full or 0, token or '', epoch, ids or ''}
end
local function resync(status, token) -- readers wait until writers have brought back what is lost
  redis.call('HSET', totals, 'd', nowText)
  return answer(status, token)
end
if not generation then
  generation = ARGV[4] .. '.' .. clock[1] .. '.' .. clock[2] -- what comes late begins no earlier one once more
  redis.call('HSET', totals, 'g', generation, 's', ARGV[2])
  redis.call('DEL', writers)
  redis.call('HSET', writers, 'g', generation .. ' 0')
elseif meta[2] ~= ARGV[2] then
  return {'shards', meta[2] or '', nowText, 0, '', 0, ''}
end
if known ~= generation then
  if known == '' then
    return answer('wiped')
  end
  return resync('wiped')
end

-- The writer. The token in its record is that of the last flush that was taken, so with the token it is known what its slot has.
local state = redis.call('HMGET', writers, 'g', writer)
local head = state[2]
if state[1] ~= generation .. ' ' .. string.format('%.0f', epoch) then -- they were deleted
  head, epoch = false, epoch + 1
  redis.call('HSET', totals, 'e', string.format('%.0f', epoch))
  redis.call('DEL', writers)
  redis.call('HSET', writers, 'g', generation .. ' ' .. string.format('%.0f', epoch))
end
local hasSlot = redis.call('EXISTS', slot) == 1
local seen = tonumber(ARGV[8])
local function touch(sequence, token) -- never earlier than the last answer to the writer, wherever the clock goes
  redis.call('HSET', writers, writer, sequence .. ' ' .. token .. ' ' .. string.format('%.0f', math.max(now, seen)))
end
if head then
  local sequence, token, seenBefore = string.match(head, '^(%d+) (%S*) (%d+)')
  seen = math.max(seen, tonumber(seenBefore))
  local lost = token ~= acked and token ~= current
  local own = string.sub(token, 1, #ARGV[11]) == ARGV[11] or string.sub(token, 1, 1) == '?'
  if lost and not own and tonumber(sequence) >= tonumber(ARGV[6]) then
    return answer('fenced')
  end
  if not hasSlot then
    return answer(token == current and 'expired after' or 'expired')
  end
  if lost then
    return resync('rolled back', token)
  end
  if token == current then -- it has been taken before, or brings nothing
    touch(sequence, token)
    redis.call('PEXPIRE', slot, ARGV[9])
    return answer('ok', token)
  end
else
  if not hasSlot then
    -- The slot was deleted, or has expired, and was not lost with what it had contributed. The clock may have gone back since then.
    if tonumber(ARGV[13]) < epoch or now - seen > tonumber(ARGV[10]) or acked ~= '' and seen <= forgotten then
      return answer('expired')
    end
    if acked ~= '' then
      return resync('rolled back')
    end
  elseif not absolute then -- what the slot has is in the totals, and only that is known
    -- From now on the writer is known again: should its slot be deleted before it sends all once more, it is not taken for one of whose
    -- contributions the totals have none.
    local token = '?' .. clock[1] .. '.' .. clock[2]
    touch(ARGV[6], token)
    return resync('rolled back', token)
  end
  if n == 0 then
    return answer('ok')
  end
  -- Whenever a writer comes, forget a few of which nothing was heard for long.
  local sample = redis.call('HRANDFIELD', writers, 4, 'WITHVALUES')
  for i = 1, #sample, 2 do
    local last = tonumber(string.match(sample[i + 1], '^%d+ %S* (%d+)$'))
    if last and now - last > tonumber(ARGV[10]) then
      forgotten = math.max(forgotten, last)
      redis.call('HDEL', writers, sample[i])
      redis.call('HSET', totals, 'f', string.format('%.0f', forgotten))
    end
  end
end

-- Numbers of scripts are doubles, so each is in two parts, high * 1e9 + low, which stay exact.
local pack, parse, none = struct.pack, struct.unpack, '\0\0\0\0'

-- What of the contribution to key i is new, and whether the slot has an earlier one to it. A place that has another tenant, or none,
-- says nothing of this key: so the totals have none of it.
local function difference(i, high, low, place)
  local before, nothing = redis.call('GETRANGE', slot, 13 * place, 13 * place + 12), string.sub(nothingNew, 13 * i - 12, 13 * i)
  local isThere = string.sub(before, 10) == string.sub(nothing, 10)
  local beforeHigh, beforeLow = parse('>I5I4', isThere and before or nothing)
  high, low = high - beforeHigh, low - beforeLow
  if low < 0 then
    high, low = high - 1, low + 1e9
  end
  if high < 0 then -- the slot has more
    high, low = 0, 0
  end
  return high, low, isThere
end

-- The next id that no key has. They begin once more when all of their bytes were used.
local function nextId()
  local id
  repeat
    lastId = lastId + 1
    id = pack('>I4', lastId % 2^32)
  until lastId < 2^32 or id ~= none and redis.call('HEXISTS', totals, '#' .. id) == 0
  return id
end

-- What is to be added to which id.
local highs, lows, starts, told, ids, named, fields, unknown = {}, {}, {}, {}, {}, {}, {}, {}
for i = 1, n do
  local place
  highs[i], lows[i], starts[i], place, ids[i] = parse('>I5I4I6I4c4', amounts, 23 * i - 22)
  told[i] = starts[i] == 0
  if absolute then
    highs[i], lows[i], told[i] = difference(i, highs[i], lows[i], place)
  end
  fields[i], named[i] = '#' .. ids[i], ids[i] ~= none
  if not named[i] then
    unknown[#unknown + 1] = i
  end
end
local changed, k, missing = {}, 0, {}
local firstId, toWrite = lastId, firstKey + #unknown
if #unknown > 0 then
  local known = redis.call('HMGET', totals, unpack(ARGV, firstKey, toWrite - 1))
  for j = 1, #unknown do
    local i = unknown[j]
    local id = known[j]
    if not id and told[i] and not absolute then
      missing[#missing + 1] = pack('>I4', i)
    elseif not id and (highs[i] > 0 or lows[i] > 0) then -- else it was dropped, and nothing was counted since
      id = nextId()
      changed[k + 1], changed[k + 2] = ARGV[firstKey - 1 + j], id
      k = k + 2
    end
    id = id or none
    ids[i], fields[i], known[j] = id, '#' .. id, id
  end
  unknown = table.concat(known)
else
  unknown = ''
end

local full, last = 0, math.max(now, tonumber(meta[6] or 0)) -- never before the last sweep, should the clock be back for a while
local records = redis.call('HMGET', totals, unpack(fields))
for i = 1, n do
  local newHigh, newLow, start = highs[i], lows[i], starts[i]
  local high, low, first = 0, 0, now
  if records[i] then
    high, low, first = parse('>I5I4I6', records[i])
  elseif named[i] then
    missing[#missing + 1] = pack('>I4', i)
  end
  if start < first and not told[i] then
    first = start
  end
  if newHigh > 0 or newLow > 0 then
    high, low = high + newHigh, low + newLow
    if low >= 1e9 then
      high, low = high + 1, low - 1e9
    end
    if high >= 9223372036 and (high > 9223372036 or low > 854775807) then
      full, high, low = full + 1, 9223372036, 854775807
    end
    changed[k + 1], changed[k + 2] = fields[i], pack('>I5I4I6I6', high, low, first, last)
    k = k + 2
  end
end
if #missing > 0 then -- forgotten, or erased. What the slot has was in their totals; the writer begins them anew
  return answer('forgotten', acked, 0, table.concat(missing))
end
-- The slot first: of all that is written, it alone has not been read, and may be of a wrong type.
for i = toWrite, #ARGV, 2 do
  redis.call('SETRANGE', slot, ARGV[i], ARGV[i + 1])
end
if k > 0 then
  redis.call('HSET', totals, unpack(changed))
end
if lastId > firstId then
  redis.call('HSET', totals, 'i', string.format('%.0f', lastId))
end
redis.call('PEXPIRE', slot, ARGV[9])
touch(string.format('%.0f', ARGV[6] + 1), current)
return answer('ok', current, full, unknown)
