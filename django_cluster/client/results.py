"""Read the results of tasks and of groups.

``wait`` is in milliseconds: 0 = do not wait, negative = no limit. ``cached``: True reads the cache, False the table,
None (the default) both.
"""

from __future__ import annotations

import time
from typing import Any

from django.utils import timezone

from django_cluster.brokers.base import Broker
from django_cluster.client.client import get_client
from django_cluster.core.task_status import TaskStatus
from django_cluster.errors import NotFinished
from django_cluster.models import Task
from django_cluster.stores.base import UNFINISHED, ResultStore, Unfinished, wait_for

NO_LIMIT = -1

# ── one task ─────────────────────────────────────────────────────────────────────────────────────


def fetch(task_id: str, wait: int = 0, cached: bool | None = None) -> Task | None:
    """Return the finished task with this id or name (the newest of that name), or None if there is none.

    ``wait``: milliseconds to wait for it; negative = no limit. ``cached``: True reads the cache, False the table, None
    both. Raises ``StoreUnavailable``.
    """
    found = _wait_for(task_id, wait, cached)
    return None if found is UNFINISHED else found


def result(task_id: str, wait: int = 0, cached: bool | None = None, *, required: bool = False) -> Any:
    """Return what the task returned, or the text of its error if it failed; None while it has not finished.

    With ``required=True``, ``NotFinished`` is raised instead of returning None. ``wait``: milliseconds to wait;
    negative = no limit. ``cached``: True reads the cache, False the table, None both. Raises ``PackageError`` if the
    value cannot be read any more, ``StoreUnavailable``.
    """
    found = _wait_for(task_id, wait, cached)
    if found is not UNFINISHED:
        return found.result
    if required:
        raise NotFinished(f"Task {task_id} has not finished.")
    return None


def fetch_cached(task_id: str, wait: int = 0, broker: Broker | None = None) -> Task | None:
    """Call ``fetch`` with ``cached=True``. ``broker`` has no effect; Django-Q has this parameter."""
    return fetch(task_id, wait, cached=True)


def result_cached(task_id: str, wait: int = 0, broker: Broker | None = None) -> Any:
    """Call ``result`` with ``cached=True``. ``broker`` has no effect; Django-Q has this parameter."""
    return result(task_id, wait, cached=True)


def tracked_status(task_id: str, tracked: bool) -> TaskStatus | None:
    """Return the status of a tracked task as its row says it; None if it has none.

    ``tracked``: whether the task asked for a row; where the setting ``track_tasks`` is on, every task may have one.
    Raises ``StoreUnavailable``.
    """
    client = get_client()
    row = client.results.tracked.get(task_id) if tracked or client.settings.track_tasks else None
    if row is None:
        return None
    is_due = row.run_after is None or row.run_after <= timezone.now()
    return TaskStatus.QUEUED if row.status == TaskStatus.SCHEDULED and is_due else TaskStatus(row.status)


def delete_cached(task_id: str, broker: Broker | None = None) -> bool:
    """Delete the cached result of a task; returns whether there was one."""
    return get_client().results.cached.delete(task_id)


def _wait_for(task_id: str, wait: int, cached: bool | None) -> Task | Unfinished:
    results = _store_for(cached)

    def look() -> Task | Unfinished:
        return results.get(task_id) or UNFINISHED

    return wait_for(look, wait)


def _store_for(cached: bool | None) -> ResultStore:
    """Where to look: the rows, the cache, or (None) wherever the result may be."""
    results = get_client().results
    if cached is None:
        return results
    return results.cached if cached else results.rows


# ── a group ──────────────────────────────────────────────────────────────────────────────────────


def result_group(
    group_id: str,
    failures: bool = False,
    wait: int | None = None,
    count: int | None = None,
    cached: bool | None = None,
) -> list[Any]:
    """Return the results of the finished tasks of a group, newest first.

    With ``failures=True`` the error texts of failed tasks are included. ``wait``, ``count`` and the errors are those
    of ``fetch_group``.
    """
    return [task.result for task in fetch_group(group_id, failures, wait, count, cached)]


def fetch_group(
    group_id: str,
    failures: bool = True,
    wait: int | None = None,
    count: int | None = None,
    cached: bool | None = None,
) -> list[Task]:
    """Return the finished tasks of a group, newest first; with ``failures=False`` only those that succeeded.

    ``wait`` (milliseconds, negative = no limit) waits until one task has finished, or with ``count`` until this many
    have, failed ones included; then returns what there is. ``count`` without ``wait`` has no time limit. ``cached``:
    True reads the cache, False the table, None both.

    Raises ``ResultsPruned`` if some results of the group have been deleted: the list is never silently incomplete.
    """
    results = _store_for(cached)
    if wait is None:
        wait = NO_LIMIT if count else 0
    began = time.monotonic()
    if count:
        wait_for(lambda: _true(results.count(group_id) >= count), wait)
    left = wait if wait < 0 else max(0, wait - int((time.monotonic() - began) * 1000))
    found: list[Task] = []

    def look() -> bool | Unfinished:
        found[:] = results.group(group_id, failures=failures)
        results.ensure_whole(group_id, failures=failures)  # after the rows were read: they may go in between
        return bool(found) or UNFINISHED

    wait_for(look, 0 if count else left)
    return found


def count_group(group_id: str, failures: bool = False, cached: bool | None = None) -> int:
    """Return how many tasks of a group have finished; with ``failures=True`` how many have failed.

    Tasks whose rows have been deleted since are counted.
    """
    return _store_for(cached).count(group_id, failures=failures)


def delete_group(group_id: str, tasks: bool = False, cached: bool | None = None) -> int:
    """Remove the group from its tasks, or with ``tasks=True`` delete them; returns how many tasks there were.

    Cached results of the group are deleted in both cases.
    """
    return _store_for(cached).delete_group(group_id, tasks=tasks)


def result_group_cached(
    group_id: str,
    failures: bool = False,
    wait: int | None = None,
    count: int | None = None,
    broker: Broker | None = None,
) -> list[Any]:
    """Call ``result_group`` with ``cached=True``. ``broker`` has no effect."""
    return result_group(group_id, failures, wait, count, cached=True)


def fetch_group_cached(
    group_id: str,
    failures: bool = True,
    wait: int | None = None,
    count: int | None = None,
    broker: Broker | None = None,
) -> list[Task]:
    """Call ``fetch_group`` with ``cached=True``. ``broker`` has no effect."""
    return fetch_group(group_id, failures, wait, count, cached=True)


def count_group_cached(group_id: str, failures: bool = False, broker: Broker | None = None) -> int | None:
    """Call ``count_group`` with ``cached=True``; returns None if the cache knows no such group."""
    cached = get_client().results.cached
    return cached.count(group_id, failures=failures) if cached.knows_group(group_id) else None


def delete_group_cached(group_id: str, broker: Broker | None = None) -> int:
    """Delete a group and its results from the cache; returns how many tasks there were."""
    return delete_group(group_id, tasks=True, cached=True)


def _true(reached: bool) -> bool | Unfinished:
    return reached or UNFINISHED
