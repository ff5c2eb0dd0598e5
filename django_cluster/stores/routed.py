"""Rows for what is to be kept, a cache for what is not: the task's options and the settings say which."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

from django_cluster.core.events.servers import CACHE_NOT_ASKED
from django_cluster.core.messages import Outcome
from django_cluster.core.settings import ResultSettings
from django_cluster.errors import StoreUnavailable
from django_cluster.models import Task
from django_cluster.stores.base import ResultStore
from django_cluster.stores.cache import CachedResults
from django_cluster.stores.checkpoints import CheckpointStore
from django_cluster.stores.orm import OrmResults
from django_cluster.stores.orm_groups import OrmGroups
from django_cluster.stores.rows import lifetime_in_cache
from django_cluster.stores.tracked import TrackedTasks

T = TypeVar("T")


class RoutedResults(ResultStore):
    """``rows`` and ``cached`` may also be asked by themselves.

    A success is in one of the two places, and a failure always has a row (nothing would look for it in
    the cache). Where results are never cached, an outage of the cache has no effect.
    """

    def __init__(self, section: ResultSettings, *, history_of: str | None = None) -> None:
        self._section = section
        self.rows = OrmResults(section, history_of=history_of)
        self.cached = CachedResults(section)
        self.database = self.rows.database
        self.groups: OrmGroups = self.rows.groups
        self.tracked: TrackedTasks = self.rows.tracked
        self.checkpoints: CheckpointStore = self.rows.checkpoints

    def batch(self) -> AbstractContextManager[None]:
        return self.rows.batch()

    def save(self, outcomes: Sequence[Outcome]) -> None:
        if any(lifetime_in_cache(outcome, self._section) for outcome in outcomes):
            self.cached.save(outcomes)
        self.rows.save(outcomes)

    def finished(self, task_ids: Sequence[str]) -> set[str]:
        found = self.rows.finished(task_ids)
        rest = [task_id for task_id in task_ids if task_id not in found]
        nothing: set[str] = set()
        return found | self._from_cache(lambda: self.cached.finished(rest), nothing)

    def deaths(self, outcomes: Sequence[Outcome]) -> dict[str, int]:
        return self.rows.deaths(outcomes)

    def forget_checkpoints(self, ids: Sequence[str]) -> None:
        self.rows.forget_checkpoints(ids)

    def prune(self) -> None:
        self.rows.prune()

    def close(self) -> None:
        self.rows.close()

    def get(self, id_or_name: str) -> Task | None:
        """Looks first where this cluster usually keeps results."""
        if self._section.cached:
            return self.cached.get(id_or_name) or self.rows.get(id_or_name)
        return self.rows.get(id_or_name) or self._from_cache(lambda: self.cached.get(id_or_name), None)

    def group(self, group_id: str, *, failures: bool = True) -> list[Task]:
        tasks = self.rows.group(group_id, failures=failures) + self._cached_successes(group_id)
        return sorted(tasks, key=lambda task: task.stopped_at, reverse=True)

    def count(self, group_id: str, *, failures: bool = False) -> int:
        rows = self.rows.count(group_id, failures=failures)
        if failures:
            return rows
        # A success that is kept nowhere (``save=False``) has ended all the same.
        return max(rows + len(self._cached_successes(group_id)), self.groups.ended(group_id))

    def ensure_whole(self, group_id: str, *, failures: bool = True) -> None:
        self.rows.ensure_whole(group_id, failures=failures)

    def delete(self, task_id: str) -> bool:
        row = self.rows.delete(task_id)
        return self._from_cache(lambda: self.cached.delete(task_id), False) or row

    def delete_group(self, group_id: str, *, tasks: bool = False) -> int:
        count = self.count(group_id)
        self.rows.delete_group(group_id, tasks=tasks)
        self._from_cache(lambda: self.cached.delete_group(group_id, tasks=tasks), 0)
        return count

    def _cached_successes(self, group_id: str) -> list[Task]:
        nothing: list[Task] = []
        return self._from_cache(lambda: self.cached.group(group_id, failures=False), nothing)

    def _from_cache(self, ask: Callable[[], T], nothing: T) -> T:
        try:
            return ask()
        except StoreUnavailable as error:
            if self._section.cached:
                raise
            CACHE_NOT_ASKED.log(error=error)
            return nothing
