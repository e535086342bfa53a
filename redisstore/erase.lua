-- Erases the keys of one shard that have an attribute, or are of a metric; see README.md. It returns how many there were.
--
-- The kind of the value does not matter: a number finds each number that equals it and the string that shows it, 7 and 7.0 the int 7,
-- the double 7.0 and "7"; a string finds each value that is shown as it is.
--
-- KEYS  1 the totals of the shard, {prefix:N}:totals
-- ARGV  1 the attribute: "name":value, both as JSON, and the name as it is in a key; or ["metric"], as JSON, for all keys of a metric

-- string_end returns where the JSON string ends that begins at from.
local function string_end(text, from)
  local at = string.find(text, '["\\]', from + 1)
  while at and string.sub(text, at, at) == '\\' do
    at = string.find(text, '["\\]', at + 2)
  end
  return at
end

-- value_at returns the JSON value that begins at from.
local function value_at(text, from)
  if string.sub(text, from, from) == '"' then
    return string.sub(text, from, string_end(text, from) or from)
  end
  return string.sub(text, from, (string.find(text, '[,}]', from) or 0) - 1)
end

local function unquoted(text)
  if string.find(text, '\\', 1, true) then
    return cjson.decode('[' .. text .. ']')[1]
  end
  return string.sub(text, 2, -2)
end

-- shown returns how a number of a key is shown: 200 for 200.0, with an exponent from 1e+21 on and below 1e-6.
local function shown(number)
  local sign, whole, fraction, exponent = string.match(number, '^(-?)(%d+)%.?(%d*)[eE]?([+-]?%d*)$')
  if not sign or not string.find(number, '[.eE]') then
    return number
  end
  local digits = string.gsub(whole .. fraction, '^0*', '')
  local point = #digits - #fraction + (tonumber(exponent) or 0) -- of these digits stand before the point
  digits = string.gsub(digits, '0*$', '')
  if digits == '' then
    return '0'
  elseif point > 21 or point < -5 then
    local rest = string.sub(digits, 2)
    return sign .. string.sub(digits, 1, 1) .. (rest ~= '' and '.' .. rest or '') .. string.format('e%+d', point - 1)
  elseif point <= 0 then
    return sign .. '0.' .. string.rep('0', -point) .. digits
  elseif point >= #digits then
    return sign .. digits .. string.rep('0', point - #digits)
  end
  return sign .. string.sub(digits, 1, point) .. '.' .. string.sub(digits, point + 1)
end

-- exact returns all digits of a number: Lua's own numbers have too few for some of 64 bits.
local function exact(number)
  if string.find(number, '^-?%d+$') then
    return number == '-0' and '0' or number
  end
  local n = tonumber(number)
  return n == math.floor(n) and string.format('%.0f', n + 0) or string.format('%.17g', n)
end

-- erase takes the keys out that gone says.
local function erase(gone)
  local n = 0
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if string.sub(field, 1, 1) == ':' and gone(field) then
      redis.call('HDEL', KEYS[1], field, '#' .. redis.call('HGET', KEYS[1], field))
      n = n + 1
    end
  end
  return n
end

if string.sub(ARGV[1], 1, 1) == '[' then
  local metric = string.sub(ARGV[1], 2, string_end(ARGV[1], 2) or 1)
  if '[' .. metric .. ']' ~= ARGV[1] or string.sub(metric, 1, 1) ~= '"' then
    return redis.error_reply('the metric must be ["name"], as JSON')
  end
  local start = ':[' .. metric .. ','
  return erase(function(field) return string.sub(field, 1, #start) == start end)
end

local name = string.sub(ARGV[1], 1, string_end(ARGV[1], 1) or 0)
local wanted = string.sub(ARGV[1], #name + 2)
if not pcall(cjson.decode, '{' .. ARGV[1] .. '}') or wanted ~= value_at(ARGV[1] .. '}', #name + 2) or not string.find(wanted, '^[-%dtf"]') then
  return redis.error_reply('the attribute must be "name":value, both as JSON, and the value a string, number or bool')
end
local is_number = string.find(wanted, '^[-%d]')
local wanted_text = string.sub(wanted, 1, 1) == '"' and unquoted(wanted) or shown(wanted)

local function matches(value)
  if string.sub(value, 1, 1) == '"' then
    return unquoted(value) == wanted_text
  end
  return shown(value) == wanted_text or is_number and string.find(value, '^[-%d]') and exact(value) == exact(wanted)
end

-- No string in a key has these bytes: a quote in it is escaped.
local starts = { '{' .. name .. ':', ',' .. name .. ':' }

-- has says whether a key has the attribute, of its resource or its own.
local function has(key)
  for _, start in ipairs(starts) do
    local _, at = string.find(key, start, 1, true)
    while at do
      if matches(value_at(key, at + 1)) then
        return true
      end
      _, at = string.find(key, start, at, true)
    end
  end
  return false
end

return erase(has)
