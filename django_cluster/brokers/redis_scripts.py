"""What the Redis broker does on the server: one Lua script for each verb, so that each verb is one step.

The keys of a queue share one hash slot. An *entry* is ``<priority>:<attempts>:<payload>``::

    {queue}:ready:<priority>   LIST   entries that can be lent, a list for each priority (a band)
    {queue}:bands              ZSET   the bands that are not empty, the highest priority first
    {queue}:delayed            ZSET   <number>:<entry> by the moment at which it becomes ready
    {queue}:leases             ZSET   receipts by the moment at which they end
    {queue}:leased             HASH   receipt → entry
    {queue}:bell               LIST   one element while something is ready and nobody was told
    {queue}:number             STRING tells equal delayed entries apart
    {queue}:once:<name>        STRING a message of this name was taken; a sender may come again with it

Moments are milliseconds of the server's clock. A script that may meet a full server begins with the writes
that a full server refuses: either it fails before it has changed anything, or it runs to its end.
Anything in a list that is not an entry is lent as it is; the codec refuses it.
"""

from __future__ import annotations

from hashlib import sha1


class Script:
    """The text of a script, and the name under which the server remembers it."""

    def __init__(self, body: str, common: str | None = None) -> None:
        """``common``: what stands before it; all that the verbs share, unless it is said."""
        self.text = (COMMON if common is None else common) + body
        self.sha = sha1(self.text.encode(), usedforsecurity=False).hexdigest()


COMMON = """
local base = KEYS[1]
local bands, delayed, leases, leased = base .. ':bands', base .. ':delayed', base .. ':leases', base .. ':leased'
local bell = base .. ':bell'

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function parse(entry)
  local _, stop, priority, attempts = string.find(entry, '^(%-?%d+):(%d+):')
  if stop then return priority, tonumber(attempts), string.sub(entry, stop + 1) end
  return '0', 0, entry
end

local function push(side, priority, entry)
  if redis.call(side, base .. ':ready:' .. priority, entry) == 1 then
    redis.call('ZADD', bands, -priority, priority)
  end
end

local function delay(entry, due)
  local number = redis.call('INCR', base .. ':number')
  redis.call('ZADD', delayed, due, string.format('%016d:', number) .. entry)
end

local function ring()
  if redis.call('EXISTS', bell) == 0 then redis.call('RPUSH', bell, 1) end
end

-- End these leases; pass what was lent to give_back(priority, entry), the last one first.
local function take_back(receipts, begun, give_back)
  if #receipts == 0 then return end
  local entries = redis.call('HMGET', leased, unpack(receipts))
  for i = #entries, 1, -1 do
    if entries[i] then
      local priority, attempts, payload = parse(entries[i])
      give_back(priority, string.format('%s:%d:', priority, attempts + begun) .. payload)
    end
  end
  redis.call('HDEL', leased, unpack(receipts))
  redis.call('ZREM', leases, unpack(receipts))
end
"""

# The one script that is called for every single task: what it does not need would be half of its cost.
ENQUEUE = Script(
    """
-- ARGV: a priority and entries, or '' and pairs of a moment and an entry
local base, call = KEYS[1], redis.call
if ARGV[1] == '' then
  for i = 2, #ARGV, 2 do
    local number = call('INCR', base .. ':number')
    call('ZADD', base .. ':delayed', ARGV[i], string.format('%016d:', number) .. ARGV[i + 1])
  end
elseif call('RPUSH', base .. ':ready:' .. ARGV[1], unpack(ARGV, 2)) == #ARGV - 1 then
  call('ZADD', base .. ':bands', -ARGV[1], ARGV[1])
end
if call('EXISTS', base .. ':bell') == 0 then call('RPUSH', base .. ':bell', 1) end
""",
    common="",
)

ENQUEUE_ONCE = Script("""
-- ARGV: seconds for which names are remembered, then for each message: name, priority, moment ('' = now), entry
for i = 2, #ARGV, 4 do
  if redis.call('SET', base .. ':once:' .. ARGV[i], 1, 'NX', 'EX', ARGV[1]) then
    if ARGV[i + 2] == '' then push('RPUSH', ARGV[i + 1], ARGV[i + 3]) else delay(ARGV[i + 3], ARGV[i + 2]) end
  end
end
ring()
""")

FORGET_ONCE = Script("""
-- ARGV: names
for i = 1, #ARGV do redis.call('UNLINK', base .. ':once:' .. ARGV[i]) end
""")

LEASE = Script("""
-- ARGV: the beginning of the receipts, limit, length of the lease
-- returns the entries, and in how many milliseconds something is due (-1 = nothing)
local moment, limit = now(), tonumber(ARGV[2])

local ended = redis.call('ZRANGEBYSCORE', leases, '-inf', moment, 'LIMIT', 0, 100)
take_back(ended, 1, function(priority, entry) push('LPUSH', priority, entry) end)

local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', moment, 'LIMIT', 0, 500)
for _, member in ipairs(due) do
  local entry = string.gsub(member, '^%d+:', '', 1)
  push('RPUSH', (parse(entry)), entry)
end
if #due > 0 then redis.call('ZREM', delayed, unpack(due)) end

local taken = {}
while #taken < limit do
  local priority = redis.call('ZRANGE', bands, 0, 0)[1]
  if not priority then break end
  local band, kept, ends = base .. ':ready:' .. priority, {}, {}
  local entries = redis.call('LRANGE', band, 0, limit - #taken - 1)
  for _, entry in ipairs(entries) do
    local receipt = string.format('%s:%04d', ARGV[1], #taken)
    taken[#taken + 1] = entry
    kept[#kept + 1], kept[#kept + 2] = receipt, entry
    ends[#ends + 1], ends[#ends + 2] = moment + ARGV[3], receipt
  end
  if #entries > 0 then
    redis.call('HSET', leased, unpack(kept))
    redis.call('ZADD', leases, unpack(ends))
    redis.call('LTRIM', band, #entries, -1)
  end
  if redis.call('EXISTS', band) == 0 then redis.call('ZREM', bands, priority) end
end

if redis.call('EXISTS', bands) == 1 then ring() else redis.call('DEL', bell) end
if #taken > 0 then return {taken, -1} end

local nearest = -1
for _, key in ipairs({delayed, leases}) do
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
  if first and (nearest < 0 or first - moment < nearest) then nearest = math.max(0, first - moment) end
end
return {taken, nearest}
""")

RENEW = Script("""
-- ARGV: length of the lease, receipts; returns the receipts that are gone
local ends, lost = {}, {}
local moment = now() + ARGV[1]
for i = 2, #ARGV do
  if redis.call('ZSCORE', leases, ARGV[i]) then
    ends[#ends + 1], ends[#ends + 2] = moment, ARGV[i]
  else
    lost[#lost + 1] = ARGV[i]
  end
end
if #ends > 0 then redis.call('ZADD', leases, unpack(ends)) end
return lost
""")

ACKNOWLEDGE = Script("""
-- ARGV: receipts
redis.call('HDEL', leased, unpack(ARGV))
redis.call('ZREM', leases, unpack(ARGV))
""")

RELEASE = Script("""
-- ARGV: delay, 1 if the runs had begun and 0 if not, receipts
local wait, receipts = tonumber(ARGV[1]), {unpack(ARGV, 3)}
local due = now() + wait
take_back(receipts, tonumber(ARGV[2]), function(priority, entry)
  if wait > 0 then delay(entry, due) else push('LPUSH', priority, entry) end
end)
ring()
""")

PEEK = Script("""
-- ARGV: limit; returns the ready entries, the delayed members with their moments, the receipts with theirs, the lent
local limit, ready = tonumber(ARGV[1]), {}
for _, priority in ipairs(redis.call('ZRANGE', bands, 0, -1)) do
  if #ready >= limit then break end
  for _, entry in ipairs(redis.call('LRANGE', base .. ':ready:' .. priority, 0, limit - #ready - 1)) do
    ready[#ready + 1] = entry
  end
end
local waiting = redis.call('ZRANGE', delayed, 0, limit - 1, 'WITHSCORES')
local receipts = redis.call('ZRANGE', leases, 0, limit - 1)
local lent = {}
for _, receipt in ipairs(receipts) do
  lent[#lent + 1] = redis.call('HGET', leased, receipt) or ''
  lent[#lent + 1] = redis.call('ZSCORE', leases, receipt)
end
return {ready, waiting, lent}
""")

WITHDRAW = Script("""
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

-- What dead clusters have left behind waits as well.
local ended = redis.call('ZRANGEBYSCORE', leases, '-inf', now(), 'LIMIT', 0, 1000)
take_back(ended, 1, function(priority, entry) push('LPUSH', priority, entry) end)

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
-- returns how many are ready, delayed and lent
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
redis.call('UNLINK', bands, delayed, leases, leased, bell)
return count
""")
