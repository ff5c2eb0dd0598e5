"""What the Redis broker does on the server: one Lua script for each verb, so that each verb is one step.

The keys of a queue share one hash slot. An *entry* is ``<priority>:<attempts>:<payload>``::

    {queue}:ready:<priority>   LIST   entries that can be leased, a list for each priority (a band)
    {queue}:bands              ZSET   the bands that are not empty, the highest priority first
    {queue}:delayed            ZSET   <number>:<entry> by the moment at which it becomes ready
    {queue}:leases             ZSET   receipts by the moment at which they end
    {queue}:leased             HASH   receipt → entry
    {queue}:wakeup               LIST   one element while a message is ready and no cluster was woken
    {queue}:number             STRING tells equal delayed entries apart
    {queue}:unique:<name>        STRING a message of this name was taken; a sender may come again with it
    {queue}:sender:<name>      STRING number of the last call of this sender; a repeated call changes nothing
    {queue}:attended           STRING when clusters were last here, and the end of a pause; see ``requeue_expired``

Moments are milliseconds of the server's clock. A script that adds messages begins with the writes that a full server
refuses: either it fails before it has changed anything, or it runs to its end. The others work on a full server, too:
they pass ``may_run_when_full`` first.
Anything in a list that is not an entry is leased as it is; the codec refuses it.
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
local wakeup = base .. ':wakeup'

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function parse(entry)
  local _, stop, priority, attempts = string.find(entry, '^(%-?%d+):(%d+):')
  -- longer numbers are none of ours: nothing could be added to them
  if stop and #string.gsub(priority, '-', '') <= 9 and #attempts <= 9 then
    return priority, tonumber(attempts), string.sub(entry, stop + 1)
  end
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

local function wake()
  if redis.call('EXISTS', wakeup) == 0 then redis.call('RPUSH', wakeup, 1) end
end

-- A server over its limit of memory refuses a script at its first write, if that could take memory, and lets a script
-- go on that has written before. This write changes nothing and takes nothing. (From version 7 on a flag says the same;
-- older ones do not read a script that has it.)
local function may_run_when_full()
  redis.call('DEL', base .. ':none')
end

-- End these leases; pass what was leased to requeue(priority, entry), the last one first.
local function end_leases(receipts, begun, requeue)
  if #receipts == 0 then return end
  local entries = redis.call('HMGET', leased, unpack(receipts))
  for i = #entries, 1, -1 do
    if entries[i] then
      local priority, attempts, payload = parse(entries[i])
      requeue(priority, string.format('%s:%d:', priority, math.min(attempts + begun, 999999999)) .. payload)
    end
  end
  redis.call('HDEL', leased, unpack(receipts))
  redis.call('ZREM', leases, unpack(receipts))
end

-- When clusters were last here; until when leases are spared, and those of them that ended after which moment.
local function read_attended()
  local _, _, last, spared_until, since = string.find(redis.call('GET', base .. ':attended') or '', '(%d+) (%d+) (%d+)')
  return tonumber(last), tonumber(spared_until) or 0, tonumber(since) or 0
end

-- Clusters come at least three times in a lease. If for half of one none has come, then the server stood still or was
-- away, or its clock was set: all must have the time to renew what they hold, before any of it is taken back. Leases
-- that had ended before have no holder, and are not spared.
local function note_attendance(moment, lease)
  local last, spared_until, since = read_attended()
  if last and moment - last > lease / 2 then spared_until, since = moment + math.floor(lease / 2), last end
  if not last or moment < last or moment - last > lease / 16 then
    redis.call('SET', base .. ':attended', string.format('%.0f %.0f %.0f', moment, spared_until, since))
  end
  return spared_until, since
end

local function requeue_expired(moment, spared_until, since, limit)
  if moment < spared_until then moment = math.min(moment, since) end
  local ended = redis.call('ZRANGEBYSCORE', leases, '-inf', moment, 'LIMIT', 0, limit)
  end_leases(ended, 1, function(priority, entry) push('LPUSH', priority, entry) end)
end
"""

# The one script that is called for every single task: what it does not need would be half of its cost.
ENQUEUE = Script(
    """
-- ARGV: name of the sender, number of its call, seconds for which it is remembered,
--       a priority and entries, or '' and pairs of a moment and an entry
local base, call = KEYS[1], redis.call
local sender, number = base .. ':sender:' .. ARGV[1], tonumber(ARGV[2])
local last = call('GET', sender)
if last and tonumber(last) >= number then return end -- it was carried out, and the answer was lost
call('SET', sender, ARGV[2], 'EX', ARGV[3])
if ARGV[4] == '' then
  for i = 5, #ARGV, 2 do
    local number = call('INCR', base .. ':number')
    call('ZADD', base .. ':delayed', ARGV[i], string.format('%016d:', number) .. ARGV[i + 1])
  end
elseif call('RPUSH', base .. ':ready:' .. ARGV[4], unpack(ARGV, 5)) == #ARGV - 4 then
  call('ZADD', base .. ':bands', -ARGV[4], ARGV[4])
end
if call('EXISTS', base .. ':wakeup') == 0 then call('RPUSH', base .. ':wakeup', 1) end
""",
    common="",
)

ENQUEUE_UNIQUE = Script("""
-- ARGV: seconds for which names are remembered, then for each message: name, priority, moment ('' = now), entry
for i = 2, #ARGV, 4 do
  if redis.call('SET', base .. ':unique:' .. ARGV[i], 1, 'NX', 'EX', ARGV[1]) then
    if ARGV[i + 2] == '' then push('RPUSH', ARGV[i + 1], ARGV[i + 3]) else delay(ARGV[i + 3], ARGV[i + 2]) end
  end
end
wake()
""")

RELEASE_UNIQUE = Script("""
-- ARGV: names
may_run_when_full()
for i = 1, #ARGV do redis.call('UNLINK', base .. ':unique:' .. ARGV[i]) end
""")

LEASE = Script("""
-- ARGV: the beginning of the receipts, limit, length of the lease, the last moment of the claim ('' = any)
-- returns the moment, the entries (nil: it is too late), and in how many milliseconds something is due (-1 = nothing)
may_run_when_full()
local moment, limit = now(), tonumber(ARGV[2])
local spared_until, since = note_attendance(moment, tonumber(ARGV[3]))

-- A cluster that claims so late may have lost its own leases: it must renew them first.
if ARGV[4] ~= '' and moment > tonumber(ARGV[4]) then
  if redis.call('EXISTS', bands) == 1 then wake() end -- it may have been woken, and takes nothing
  return {moment}
end

requeue_expired(moment, spared_until, since, 100)

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

if redis.call('EXISTS', bands) == 1 then wake() else redis.call('DEL', wakeup) end
if #taken > 0 then return {moment, taken, -1} end

local nearest = -1
for _, key in ipairs({delayed, leases}) do
  local first = tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2])
  if first and key == leases and first > since then first = math.max(first, spared_until) end
  if first and (nearest < 0 or first - moment < nearest) then nearest = math.max(0, first - moment) end
end
return {moment, taken, nearest}
""")

RENEW = Script("""
-- ARGV: length of the lease, receipts; returns the moment, and the receipts that are gone
may_run_when_full()
local ends, lost, called = {}, {}, now()
note_attendance(called, tonumber(ARGV[1]))
local moment = called + ARGV[1]
for i = 2, #ARGV do
  if redis.call('ZSCORE', leases, ARGV[i]) then
    ends[#ends + 1], ends[#ends + 2] = moment, ARGV[i]
  else
    lost[#lost + 1] = ARGV[i]
  end
end
if #ends > 0 then redis.call('ZADD', leases, unpack(ends)) end
return {called, lost}
""")

ACKNOWLEDGE = Script("""
-- ARGV: receipts
redis.call('HDEL', leased, unpack(ARGV))
redis.call('ZREM', leases, unpack(ARGV))
""")

RELEASE = Script("""
-- ARGV: delay, 1 if the runs had begun and 0 if not, receipts
may_run_when_full()
local wait, receipts = tonumber(ARGV[1]), {unpack(ARGV, 3)}
local due = now() + wait
end_leases(receipts, tonumber(ARGV[2]), function(priority, entry)
  if wait > 0 then delay(entry, due) else push('LPUSH', priority, entry) end
end)
wake()
""")
