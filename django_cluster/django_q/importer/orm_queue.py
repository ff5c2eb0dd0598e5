"""Django-Q's queue in a table of the database."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from typing import Any

from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone

from django_cluster.django_q.importer.queue import CLAIM_SECONDS, HELD, MessageSource, WaitingMessage
from django_cluster.django_q.importer.source import BATCH, SourceMessage, SourceTask, columns_of
from django_cluster.importing.report import ImportReport
from django_cluster.importing.target import TargetQueue


class OrmQueue(MessageSource):
    """Claims as Django-Q's own clusters do: by a conditional update of ``lock``.

    In django-q2 a row is held while its lock is in the future; in Django-Q 1.3 while it is younger than ``retry``.
    ``stopped``: held rows are taken as well, and become due when they would have been released.
    """

    def __init__(self, alias: str, *, retry: float, stopped: bool, dry_run: bool) -> None:
        super().__init__(dry_run=dry_run)
        self._alias, self._stopped = alias, stopped
        old = "cluster" not in columns_of(SourceTask, alias)
        self._lease = timedelta(seconds=retry) if old else timedelta()
        self._last = 0
        self._claimed = timezone.now() + timedelta(seconds=CLAIM_SECONDS)

    def transaction(self, target: TargetQueue) -> AbstractContextManager[Any]:
        together = target.broker(target.home).database == self._alias
        return transaction.atomic(using=self._alias) if together else nullcontext()

    def find(self) -> Sequence[int]:
        rows = self._rows().filter(pk__gt=self._last)
        found = list(
            (rows if self._stopped else rows.filter(self._free())).order_by("pk").values_list("pk", flat=True)[:BATCH]
        )
        self._last = found[-1] if found else self._last
        return found

    def claim(self, found: Sequence[int]) -> Sequence[WaitingMessage]:
        rows = self._rows().filter(pk__in=found)
        locks: dict[int, datetime | None] = dict(rows.values_list("pk", "lock"))
        if not self.dry_run:
            (rows if self._stopped else rows.filter(self._free())).update(lock=self._claimed)
            rows = rows.filter(lock=self._claimed)
        return [
            WaitingMessage((row["id"], locks[row["id"]]), row["key"], row["payload"], self._due(locks[row["id"]]))
            for row in rows.order_by("pk").values("id", "key", "payload")
            if row["id"] in locks
        ]

    def finish(self, sent: Sequence[WaitingMessage], refused: Sequence[WaitingMessage]) -> None:
        self._rows().filter(pk__in=[message.key[0] for message in sent]).delete()
        for message in refused:
            key, lock = message.key
            self._rows().filter(pk=key).update(lock=lock)

    def close(self, report: ImportReport) -> None:
        if not self._stopped and (held := self._rows().exclude(self._free()).count()):
            report.leave(HELD, held)

    def _free(self) -> Q:
        return Q(lock__isnull=True) | Q(lock__lte=timezone.now() - self._lease)

    def _due(self, lock: datetime | None) -> datetime | None:
        due = lock + self._lease if lock is not None else None
        return due if due is not None and due > timezone.now() else None

    def _rows(self) -> Any:
        return models.QuerySet(SourceMessage, using=self._alias)
