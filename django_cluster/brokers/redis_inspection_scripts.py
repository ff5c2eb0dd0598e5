"""Lua scripts that inspect, clear and repair the keys of a queue. ``redis_scripts`` describes all keys."""

from __future__ import annotations

from django_cluster.brokers.redis_scripts import Script

PEEK = Script("""
-- ARGV: limit; returns the ready entries, the delayed members with their moments, the leased entries with theirs
local limit, ready = tonumber(ARGV[1]), {}
for _, priority in ipairs(redis.call('ZRANGE', bands, 0, -1)) do
  if #ready >= limit then break end
  for _, entry in ipairs(redis.call('LRANGE', base .. ':ready:' .. priority, 0, limit - #ready - 1)) do
    ready[#ready + 1] = entry
  end
end
local waiting = redis.call('ZRANGE', delayed, 0, limit - 1, 'WITHSCORES')
local receipts = redis.call('ZRANGE', leases, 0, limit - 1)
local leased_entries = {}
for _, receipt in ipairs(receipts) do
  leased_entries[#leased_entries + 1] = redis.call('HGET', leased, receipt) or ''
  leased_entries[#leased_entries + 1] = redis.call('ZSCORE', leases, receipt)
end
return {ready, waiting, leased_entries}
""")

CANCEL = Script("""
-- ARGV: fingerprints of payloads; returns how many messages there were
local sought, left, found = {}, #ARGV, 0
for _, key in ipairs(ARGV) do sought[key] = true end

local function meant(entry)
  local _, _, payload = parse(entry)
  local key = redis.sha1hex(payload)
  if not sought[key] then return false end
  sought[key], left, found = nil, left - 1, found + 1
  return true
end

-- What dead clusters have left behind waits as well. Leases that are not meant stay as they are: after a pause of the
-- server, their holders may still renew them.
may_run_when_full()
local ended = redis.call('ZRANGEBYSCORE', leases, '-inf', now(), 'LIMIT', 0, 1000)
for _, receipt in ipairs(ended) do
  if meant(redis.call('HGET', leased, receipt) or '') then
    redis.call('HDEL', leased, receipt)
    redis.call('ZREM', leases, receipt)
  end
end

local function portions(command, key, visit)
  local start = 0
  while left > 0 do
    local members = redis.call(command, key, start, start + 999)
    if #members == 0 then return end
    local removed = 0
    for _, member in ipairs(members) do removed = removed + visit(member) end
    start = start + #members - removed
  end
end

for _, priority in ipairs(redis.call('ZRANGE', bands, 0, -1)) do
  local band = base .. ':ready:' .. priority
  portions('LRANGE', band, function(entry)
    return meant(entry) and redis.call('LREM', band, 1, entry) or 0
  end)
  if redis.call('EXISTS', band) == 0 then redis.call('ZREM', bands, priority) end
end
portions('ZRANGE', delayed, function(member)
  return meant(string.gsub(member, '^%d+:', '', 1)) and redis.call('ZREM', delayed, member) or 0
end)
return found
""")

SIZE = Script("""
-- returns how many are ready, delayed and leased
local ready = 0
for _, priority in ipairs(redis.call('ZRANGE', bands, 0, -1)) do
  ready = ready + redis.call('LLEN', base .. ':ready:' .. priority)
end
local due, ended = redis.call('ZCOUNT', delayed, '-inf', now()), redis.call('ZCOUNT', leases, '-inf', now())
return {ready + due + ended, redis.call('ZCARD', delayed) - due, redis.call('ZCARD', leases) - ended}
""")

PURGE = Script("""
-- returns how many there were
local count = redis.call('ZCARD', delayed) + redis.call('ZCARD', leases)
for _, priority in ipairs(redis.call('ZRANGE', bands, 0, -1)) do
  local band = base .. ':ready:' .. priority
  count = count + redis.call('LLEN', band)
  redis.call('UNLINK', band)
end
redis.call('UNLINK', bands, delayed, leases, leased, wakeup, base .. ':attended')
return count
""")

RENAME_FOREIGN_KEYS = Script("""
-- returns the new names of the keys that were renamed, because they held what no key of ours does
local found = {}
local function look(key, kind)
  local held = redis.call('TYPE', key)['ok']
  if held == kind or held == 'none' then return end
  local aside = key .. ':foreign:' .. now()
  redis.call('RENAME', key, aside)
  found[#found + 1] = aside
end

look(bands, 'zset')
for _, priority in ipairs(redis.call('ZRANGE', bands, 0, -1)) do look(base .. ':ready:' .. priority, 'list') end
for priority = -100, 100 do
  local band = string.format('%s:ready:%d', base, priority)
  look(band, 'list')
  -- a list that is not among the bands would never be leased
  if redis.call('EXISTS', band) == 1 then redis.call('ZADD', bands, -priority, string.format('%d', priority)) end
end
look(delayed, 'zset')
look(leases, 'zset')
look(leased, 'hash')
look(wakeup, 'list')
look(base .. ':attended', 'string')
look(base .. ':number', 'string')
return found
""")
