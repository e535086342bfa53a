-- Tells a writer which of its keys are missing in the totals of one shard. It changes nothing.
--
-- KEYS  1 the totals: see flush.lua
--       2 the writers
-- ARGV  1 name of the writer
--       2 generation, and
--       3 token that it last heard the server to have: a server in another state would tell of other totals, so it tells nothing
--       4 fields of the totals ...
--
-- Returns 1 for each field that is there, and 0 for each that is missing; nothing if the server is in another state.
local meta = redis.call('HMGET', KEYS[1], 'g', 'e')
local state = redis.call('HMGET', KEYS[2], 'g', ':' .. ARGV[1])
local token = string.match(state[2] or '', '^%d+ (%S*)') or ''
if meta[1] ~= ARGV[2] or state[1] ~= ARGV[2] .. ' ' .. (meta[2] or '0') or token ~= ARGV[3] then
  return {}
end
local found = {}
for i, value in ipairs(redis.call('HMGET', KEYS[1], unpack(ARGV, 4))) do
  found[i] = value and 1 or 0
end
return found
