"""Django-Q's queue in a list of Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django_cluster.django_q.importer.queue import MessageSource, WaitingMessage
from django_cluster.importing.redis_claims import ClaimedList, Item
from django_cluster.importing.report import ImportReport


class RedisQueue(MessageSource):
    """Takes batches from the list, as Django-Q's clusters do. ``name``: the queue."""

    def __init__(self, redis: Any, name: str, *, dry_run: bool) -> None:
        super().__init__(dry_run=dry_run)
        self._name = name
        self._list = ClaimedList(redis, f"django_q:{name}:q", dry_run=dry_run)

    def find(self) -> Sequence[Item]:
        return self._list.take()

    def claim(self, found: Sequence[Item]) -> Sequence[WaitingMessage]:
        return [WaitingMessage(item, self._name, item.member.decode("ascii", "replace")) for item in found]

    def finish(self, sent: Sequence[WaitingMessage], refused: Sequence[WaitingMessage]) -> None:
        self._list.finish([message.key for message in refused])

    def close(self, report: ImportReport) -> None:
        if not self.dry_run:
            self._list.return_refused()
