"""Import of queued tasks. They are moved, not copied: a task in two queues would run twice.

Where both queues are in one database, each batch moves in one transaction. Elsewhere it is sent first and deleted
second: an import that is killed in between sends the batch again, under the same ids.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.db import models, transaction
from django.utils import timezone

from django_cluster.brokers import open_broker
from django_cluster.brokers.base import Broker
from django_cluster.client.client import Client
from django_cluster.core.messages import TaskPackage
from django_cluster.core.settings import BrokerSettings
from django_cluster.django_q.importer.packages import NotImportable, PackageReader
from django_cluster.django_q.importer.report import ImportReport
from django_cluster.django_q.importer.source import BATCH, SourceMessage, SourceRow, batches
from django_cluster.lifecycle.send import QueueSender


class TargetQueue:
    """The queues into which tasks are imported; each keeps the name of its queue."""

    def __init__(self, client: Client, *, dry_run: bool) -> None:
        self._client = client
        self.dry_run = dry_run
        self._brokers: dict[str, Broker] = {}

    def send(self, queue: str, packages: Sequence[TaskPackage]) -> None:
        if packages and not self.dry_run:
            QueueSender(self._client.codec, self.broker(queue)).send(packages)

    def broker(self, queue: str) -> Broker:
        if queue not in self._brokers:
            section: BrokerSettings = replace(self._client.settings.broker, queue=queue)
            self._brokers[queue] = open_broker(section)
        return self._brokers[queue]


def import_rows(reader: PackageReader, queue: TargetQueue, source: str, report: ImportReport) -> None:
    """Move tasks from Django-Q's table. Tasks that cannot be imported stay there."""
    for rows in batches(SourceMessage, source):
        by_queue: dict[str, list[SourceRow]] = {}
        for row in rows:
            by_queue.setdefault(row["key"], []).append(row)
        for name, group in by_queue.items():
            together = queue.broker(name).database == source
            whole: AbstractContextManager[Any] = transaction.atomic(using=source) if together else nullcontext()
            taken = _read(group, lambda row: reader.read(row["payload"], _due(row["lock"])), report)
            with whole:
                queue.send(name, [package for _, package in taken])
                if not queue.dry_run:
                    ids = [row["id"] for row, _ in taken]
                    models.QuerySet(SourceMessage, using=source).filter(pk__in=ids).delete()
            report.imported += len(taken)


def _due(lock: datetime | None) -> datetime | None:
    """Due time of a locked row: its lease has not expired, or its task waits for a retry."""
    return lock if lock is not None and lock > timezone.now() else None


def import_list(reader: PackageReader, queue: TargetQueue, redis: Any, name: str, report: ImportReport) -> None:
    """Move tasks from Django-Q's list in Redis. Tasks that cannot be imported go to the end of the list."""
    key = f"django_q:{name}:q"
    left, start = redis.llen(key), 0
    while left > 0:
        texts = redis.lrange(key, start, start + min(BATCH, left) - 1)
        if not texts:
            return
        payloads = [each.decode("ascii", "replace") for each in texts]
        taken = _read(payloads, reader.read, report)
        queue.send(name, [package for _, package in taken])
        report.imported += len(taken)
        left -= len(texts)
        if queue.dry_run:
            start += len(texts)
            continue
        refused = [payload for payload in payloads if payload not in {each for each, _ in taken}]
        with redis.pipeline(transaction=True) as pipeline:
            pipeline.ltrim(key, len(texts), -1)
            if refused:
                pipeline.rpush(key, *refused)
            pipeline.execute()


def _read(
    items: Sequence[Any], read: Callable[[Any], TaskPackage], report: ImportReport
) -> list[tuple[Any, TaskPackage]]:
    taken = []
    for item in items:
        try:
            taken.append((item, read(item)))
        except NotImportable as reason:
            report.reasons[f"stays where it is: it {reason}"] += 1
    return taken
