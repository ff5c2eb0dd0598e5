"""Django-Q's queue in a list of Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django_cluster.django_q.importer.queue import MessageSource, WaitingMessage
from django_cluster.django_q.importer.source import BATCH
from django_cluster.importing.report import ImportReport

TAKE = """
local found = redis.call('LRANGE', KEYS[1], 0, ARGV[1] - 1)
if #found > 0 then
  redis.call('LTRIM', KEYS[1], #found, -1)
  redis.call('RPUSH', KEYS[2], unpack(found))
end
return found
"""


class RedisQueue(MessageSource):
    """Takes a batch from the list, as Django-Q's clusters do, into a list of its own, where a killed import finds it.

    ``name``: the queue. Tasks that cannot be imported are put back at the end.
    """

    def __init__(self, redis: Any, name: str, *, dry_run: bool) -> None:
        super().__init__(dry_run=dry_run)
        self._redis, self._name = redis, name
        self._key = f"django_q:{name}:q"
        self._taken, self._refused = f"{self._key}:qimport", f"{self._key}:qimport:refused"
        self._read = 0
        self._resumed = False

    def find(self) -> Sequence[bytes]:
        if self.dry_run:
            both = self._redis.lrange(self._taken, 0, -1) + self._redis.lrange(self._key, 0, -1)
            found = both[self._read : self._read + BATCH]
            self._read += len(found)
            return found
        if not self._resumed:
            self._resumed = True
            self._return_refused()
            if found := self._redis.lrange(self._taken, 0, -1):
                return list(found)
        return list(self._redis.eval(TAKE, 2, self._key, self._taken, BATCH))

    def claim(self, found: Sequence[bytes]) -> Sequence[WaitingMessage]:
        return [WaitingMessage(text, self._name, text.decode("ascii", "replace")) for text in found]

    def finish(self, sent: Sequence[WaitingMessage], refused: Sequence[WaitingMessage]) -> None:
        with self._redis.pipeline(transaction=True) as pipeline:
            if refused:
                pipeline.rpush(self._refused, *(message.key for message in refused))
            pipeline.delete(self._taken)
            pipeline.execute()

    def close(self, report: ImportReport) -> None:
        if not self.dry_run:
            self._return_refused()

    def _return_refused(self) -> None:
        for _ in range(self._redis.llen(self._refused)):
            self._redis.rpoplpush(self._refused, self._key)
