"""A cluster of processes for one test, and waiting until it has run what is due."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.models import Q

from django_cluster.client.client import get_client
from django_cluster.cluster.supervisor.embedded_cluster import Cluster
from django_cluster.conf import load_cluster
from django_cluster.errors import TaskFailed
from django_cluster.models import Task
from django_cluster.testing.due import coming
from django_cluster.testing.faults import FaultPlan
from django_cluster.testing.pending import moment_of
from django_cluster.testing.queues import queues_under_test
from django_cluster.testing.transactions import open_transactions

LOOK_SECONDS = 0.02
"""Seconds between two looks at the queues."""
PATIENCE_SECONDS = 30.0
"""Seconds after which a test is not kept waiting any more for a cluster that works on what is due."""


@dataclass(slots=True)
class ClusterUnderTest:
    """The cluster of one test."""

    cluster: Cluster
    _known: dict[str, int] = field(default_factory=dict)
    """Task id → the number of its runs that were returned already."""

    def wait(
        self, queue: str | None = None, *, until: datetime | timedelta | None = None, raise_errors: bool = True
    ) -> list[str]:
        """Wait until the cluster has run what is due, and what is due before ``until``; returns the ids, by their end.

        Real time passes. Raises ``TaskFailed`` for the first task that has failed, ``AssertionError`` when the cluster
        has ended, or is not done in ``PATIENCE_SECONDS`` after ``until``.
        """
        last = moment_of(until) if until is not None else time.time()
        while self._busy(queue, last):
            if not self.cluster.is_running:
                raise AssertionError("The cluster of the test has ended; its log says why.")
            if time.time() > last + PATIENCE_SECONDS:
                raise AssertionError(f"The cluster has not run everything within {PATIENCE_SECONDS:g} seconds.")
            time.sleep(LOOK_SECONDS)
        return self._ended(raise_errors=raise_errors)

    @staticmethod
    def _busy(queue: str | None, last: float) -> bool:
        for each in queues_under_test(queue, act="run_pending()"):
            size = each.broker.size()
            if size.ready or size.leased or any(due <= last for due in coming(each.broker)):
                return True
        return False

    def _ended(self, *, raise_errors: bool) -> list[str]:
        rows = Task.objects.using(get_client().results.database).order_by("stopped_at", "id")
        ended = [row for row in rows.filter(Q(final=True) | Q(success=False)) if self._is_new(row)]
        for row in ended:
            if raise_errors and row.final and not row.success:
                error = TaskFailed(f"{row.func}: {row.error_kind}: {row.error_message}")
                error.add_note(row.error_traceback)
                raise error
        return [row.id for row in ended]

    def _is_new(self, row: Task) -> bool:
        before, self._known[row.id] = self._known.get(row.id, 0), row.attempt_count
        return before < row.attempt_count


@contextmanager
def running_cluster() -> Iterator[ClusterUnderTest]:
    """A cluster for all queues of the settings, until the end of the block.

    Raises ``ImproperlyConfigured`` where its processes would not see what the test does.
    """
    _refuse_invisible()
    with tempfile.TemporaryDirectory(prefix="django_cluster-faults-") as folder:
        FaultPlan.share(Path(folder, "faults"))
        try:
            with Cluster(load_cluster(["*"])) as cluster:
                yield ClusterUnderTest(cluster)
        finally:
            FaultPlan.share(None)


def _refuse_invisible() -> None:
    if aliases := open_transactions():
        raise ImproperlyConfigured(
            f"A transaction is open on {', '.join(aliases)}, and no other process would see what the test does: with a"
            " real cluster, use TransactionTestCase (pytest-django: transactional_db)."
        )
    if get_client().settings.broker.kind == "memory":
        raise ImproperlyConfigured("The broker 'memory' is in this process only: a real cluster needs another one.")
    for connection in connections.all():
        if connection.vendor == "sqlite" and connection.is_in_memory_db():  # type: ignore[attr-defined]  # of SQLite
            raise ImproperlyConfigured(
                f"The test database {connection.alias!r} is in the memory of this process: for a real cluster, name a"
                ' file in DATABASES: {"TEST": {"NAME": "test.sqlite3"}}.'
            )
