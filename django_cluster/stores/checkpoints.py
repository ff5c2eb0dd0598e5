"""The checkpoints of tasks: one row for each task that has kept something and has not ended."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from django_cluster.core.batching import batches
from django_cluster.models import Task, TaskCheckpoint
from django_cluster.stores.session import results_session

IDS_PER_STATEMENT = 500
PRUNE_INTERVAL_SECONDS = 600.0
KEPT_FOR = timedelta(days=30)
"""For which a checkpoint is kept that its task does not renew, if nothing says that the task has ended."""


class CheckpointStore:
    """The table in one database. All methods raise ``StoreUnavailable``."""

    def __init__(self, alias: str) -> None:
        self.database = alias
        self._session = results_session(alias)
        self._prune_at = 0.0

    def save(self, task_id: str, sealed: bytes) -> None:
        """Keep this instead of what was kept before, in the caller's transaction if there is one."""
        values = {"sealed_value": sealed, "saved_at": timezone.now()}

        def save() -> None:
            if not self._rows.filter(pk=task_id).update(**values):
                self._rows.update_or_create(pk=task_id, defaults=values)

        self._session.run(save)

    def load(self, task_id: str) -> bytes | None:
        """What was kept last."""
        kept = self._rows.filter(pk=task_id).values_list("sealed_value", flat=True)
        found = self._session.read(kept.first)
        return None if found is None else bytes(found)

    def forget(self, ids: Sequence[str]) -> None:
        """Delete what these tasks have kept."""
        for batch in batches(ids, most=IDS_PER_STATEMENT):
            self._session.run(lambda batch=batch: self._rows.filter(pk__in=batch).delete())  # type: ignore[misc]

    def prune(self) -> None:
        """Now and then, delete what was kept by tasks that ended without their worker, and what is too old."""
        if time.monotonic() < self._prune_at:
            return
        self._prune_at = time.monotonic() + PRUNE_INTERVAL_SECONDS
        ended = Exists(Task.objects.using(self.database).filter(pk=OuterRef("pk"), final=True).order_by())
        old = self._rows.filter(Q(ended) | Q(saved_at__lt=timezone.now() - KEPT_FOR))
        ids = self._session.read(lambda: list(old.values_list("pk", flat=True)[:IDS_PER_STATEMENT]))
        if ids:
            self.forget(ids)

    @property
    def _rows(self) -> QuerySet[TaskCheckpoint]:
        return TaskCheckpoint._default_manager.using(self.database).order_by()
