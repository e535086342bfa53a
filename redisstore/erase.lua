-- Erases the keys of one shard that have an attribute; see README.md. It returns how many there were.
--
-- KEYS  1 the totals of the shard, {prefix:N}:totals
-- ARGV  1 the attribute as it is in a key: "name":value, both as JSON
local gone = 0
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if string.sub(field, 1, 1) == ':' and string.find(field, ARGV[1], 1, true) then
    redis.call('HDEL', KEYS[1], field, '#' .. redis.call('HGET', KEYS[1], field))
    gone = gone + 1
  end
end
return gone
