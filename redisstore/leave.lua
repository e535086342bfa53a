-- A writer leaves one shard: the server has all that it has contributed, and it is never back. Its slot goes; the totals stay. Its name
-- stays for a while, so that a request of it which comes late is not taken for that of a new writer: see flush.lua.
--
-- KEYS  1 the writers
--       2 the slot of the writer
-- ARGV  1 name of the writer
--       2 token that it last heard the server to have
--       3 for how long its name stays, milliseconds
--       4 for how long names stay of which nobody is heard, milliseconds
local head = redis.call('HGET', KEYS[1], ':' .. ARGV[1])
local sequence, token = string.match(head or '', '^(%d+) (%S*)')
if token ~= ARGV[2] then
  return 0 -- the server has gone back to an earlier state, or another process writes under this name
end
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[1], ':' .. ARGV[1], sequence .. ' ' .. token .. ' ' .. string.format('%.0f', now + ARGV[3] - ARGV[4]))
return 1
