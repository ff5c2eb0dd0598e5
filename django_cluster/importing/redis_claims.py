"""Taking what waits in Redis from queues of other programs, whose workers may still run.

What was taken is in a key of its own (``…:qimport``), where the next import finds it if this one is killed. What was
refused waits in another (``…:qimport:refused``), and returns when the import ends.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

BATCH = 500
FROM_HEAD = """
local found = redis.call('LRANGE', KEYS[1], 0, ARGV[1] - 1)
if #found > 0 then
  redis.call('LTRIM', KEYS[1], #found, -1)
  redis.call('RPUSH', KEYS[2], unpack(found))
end
return found
"""
FROM_TAIL = """
local found = redis.call('LRANGE', KEYS[1], -ARGV[1], -1)
if #found > 0 then
  redis.call('LTRIM', KEYS[1], 0, -1 - #found)
  for place = #found, 1, -1 do redis.call('RPUSH', KEYS[2], found[place]) end
end
return redis.call('LRANGE', KEYS[2], 0, -1)
"""
FROM_SET = """
local found = redis.call('ZRANGE', KEYS[1], 0, ARGV[1] - 1, 'WITHSCORES')
for place = 1, #found, 2 do
  redis.call('ZREM', KEYS[1], found[place])
  redis.call('ZADD', KEYS[2], found[place + 1], found[place])
end
return found
"""


class Item(NamedTuple):
    """What waits in Redis."""

    member: bytes
    score: float | None = None
    """In a sorted set: mostly a Unix time."""


class RedisClaims(ABC):
    """``key``: where the items wait. ``dry_run``: they are read, and nothing is taken."""

    def __init__(self, redis: Any, key: str, *, dry_run: bool = False) -> None:
        self._redis, self._key, self._dry_run = redis, key, dry_run
        self._taken, self._refused = f"{key}:qimport", f"{key}:qimport:refused"
        self._resumed = False
        self._seen: Iterator[Item] | None = None
        """In a dry run: what waited when it began, and was not returned yet."""

    def take(self) -> Sequence[Item]:
        """The next items, oldest first; empty at the end."""
        if self._dry_run:
            if self._seen is None:
                self._seen = iter([*self._items(self._taken), *self._items(self._key)])
            return list(islice(self._seen, BATCH))
        if not self._resumed:
            self._resumed = True
            self.return_refused()
            if found := self._items(self._taken):
                return found
        return self._take()

    def finish(self, refused: Sequence[Item]) -> None:
        """Forget what was taken, but for what was refused."""
        with self._redis.pipeline(transaction=True) as pipeline:
            for item in refused:
                self._refuse(pipeline, item)
            pipeline.delete(self._taken)
            pipeline.execute()

    @abstractmethod
    def return_refused(self) -> None:
        """Put back what was refused."""

    @abstractmethod
    def _items(self, key: str) -> list[Item]: ...

    @abstractmethod
    def _take(self) -> list[Item]: ...

    @abstractmethod
    def _refuse(self, pipeline: Any, item: Item) -> None: ...


class ClaimedList(RedisClaims):
    """A list. ``from_tail``: its oldest item is the last one."""

    def __init__(self, redis: Any, key: str, *, dry_run: bool = False, from_tail: bool = False) -> None:
        super().__init__(redis, key, dry_run=dry_run)
        self._from_tail = from_tail

    def return_refused(self) -> None:
        for _ in range(self._redis.llen(self._refused)):
            self._redis.rpoplpush(self._refused, self._key)

    def _items(self, key: str) -> list[Item]:
        found = [Item(member) for member in self._redis.lrange(key, 0, -1)]
        return found[::-1] if self._from_tail and key == self._key else found

    def _take(self) -> list[Item]:
        script = FROM_TAIL if self._from_tail else FROM_HEAD
        return [Item(member) for member in self._redis.eval(script, 2, self._key, self._taken, BATCH)]

    def _refuse(self, pipeline: Any, item: Item) -> None:
        pipeline.rpush(self._refused, item.member)


class ClaimedSet(RedisClaims):
    """A sorted set."""

    def return_refused(self) -> None:
        for item in self._items(self._refused):
            with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.zadd(self._key, {item.member: item.score})
                pipeline.zrem(self._refused, item.member)
                pipeline.execute()

    def _items(self, key: str) -> list[Item]:
        return [Item(member, score) for member, score in self._redis.zrange(key, 0, -1, withscores=True)]

    def _take(self) -> list[Item]:
        flat = self._redis.eval(FROM_SET, 2, self._key, self._taken, BATCH)
        return [Item(flat[place], float(flat[place + 1])) for place in range(0, len(flat), 2)]

    def _refuse(self, pipeline: Any, item: Item) -> None:
        pipeline.zadd(self._refused, {item.member: item.score})
