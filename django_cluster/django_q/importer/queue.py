"""Import of queued tasks. They are moved, not copied: a task in two queues would run twice.

A batch is claimed from Django-Q, in the way in which its own clusters claim, so that those may still run. Then it is
sent, and deleted there. Where both queues are in one database, that is one transaction. Elsewhere an import that is
killed before the deletion sends the batch again, under the same ids.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Any, NamedTuple

from django_cluster.core.messages import TaskPackage
from django_cluster.core.reprs import repr_of
from django_cluster.django_q.importer.packages import PackageReader
from django_cluster.importing.report import ImportReport, NotImportable
from django_cluster.importing.target import TargetQueue

CLAIM_SECONDS = 600
"""How long a claimed batch is hidden from Django-Q's clusters, if the import is killed."""
HELD = (
    "is held by a cluster of Django-Q, or waits there for its next attempt. Import again later;"
    " if its clusters are stopped: --stopped."
)


class WaitingMessage(NamedTuple):
    """A message of Django-Q."""

    key: Any
    """Its row, its receipt, or whatever else deletes it."""
    queue: str
    payload: str
    not_before: datetime | None = None
    """When it may be run; None: now."""

    def __repr__(self) -> str:
        return repr_of(self, "key", "queue")


class MessageSource(ABC):
    """A queue of Django-Q. ``dry_run``: claims and changes nothing."""

    def __init__(self, *, dry_run: bool) -> None:
        self.dry_run = dry_run

    def transaction(self, target: TargetQueue) -> AbstractContextManager[Any]:
        """A transaction that the target takes part in, if there is one."""
        return nullcontext()

    @abstractmethod
    def find(self) -> Sequence[Any]:
        """The next messages; empty at the end."""

    @abstractmethod
    def claim(self, found: Sequence[Any]) -> Sequence[WaitingMessage]:
        """Claim messages; returns them without what a cluster has claimed meanwhile."""

    @abstractmethod
    def finish(self, sent: Sequence[WaitingMessage], refused: Sequence[WaitingMessage]) -> None:
        """Delete what was sent, and release the rest. Not called in a dry run."""

    def close(self, report: ImportReport) -> None:  # noqa: B027  not every source has something to return
        """Return to Django-Q what was refused, and report what its clusters hold."""


def move(source: MessageSource, reader: PackageReader, target: TargetQueue, report: ImportReport) -> None:
    """Move all tasks that are not held by a cluster. Those that cannot be imported stay."""
    try:
        while found := source.find():
            with source.transaction(target):
                _move_batch(source, source.claim(found), reader, target, report)
    finally:
        source.close(report)


def _move_batch(
    source: MessageSource,
    batch: Sequence[WaitingMessage],
    reader: PackageReader,
    target: TargetQueue,
    report: ImportReport,
) -> None:
    by_queue: dict[str, list[tuple[WaitingMessage, TaskPackage]]] = {}
    for message in batch:
        try:
            package = reader.read(message.payload, message.not_before)
        except NotImportable as reason:
            report.leave(str(reason))
        else:
            by_queue.setdefault(message.queue, []).append((message, package))
    sent: list[WaitingMessage] = []
    try:
        for queue, pairs in by_queue.items():
            target.send(queue, [package for _, package in pairs])
            sent += [message for message, _ in pairs]
    finally:
        if not source.dry_run:
            # If a queue was not available, what went to others is deleted all the same: Django-Q would run it as well.
            source.finish(sent, [message for message in batch if message not in sent])
    report.imported += len(sent)
