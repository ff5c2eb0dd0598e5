"""Reading results: of one task, and of a group.

Django-Q's names and arguments. ``wait`` is in milliseconds: 0 = one look, negative = for ever. ``cached``
says where to look: True in the cache, False among the rows, None wherever the result may be.
"""

from __future__ import annotations

import time
from typing import Any

from django_cluster.brokers.base import Broker
from django_cluster.client.client import get_client
from django_cluster.errors import NotFinished
from django_cluster.models import Task
from django_cluster.stores.base import UNFINISHED, ResultStore, Unfinished, wait_for

NO_LIMIT = -1

# ── one task ─────────────────────────────────────────────────────────────────────────────────────


def fetch(task_id: str, wait: int = 0, cached: bool | None = None) -> Task | None:
    """The finished task with this id or name, or None while there is none."""
    found = _wait_for(task_id, wait, cached)
    return None if found is UNFINISHED else found


def result(task_id: str, wait: int = 0, cached: bool | None = None, *, required: bool = False) -> Any:
    """What the task returned; of a failed task the text of its error; None while it has not finished.

    ``required=True`` raises ``NotFinished`` instead, and so tells "not finished" from "returned None".
    """
    found = _wait_for(task_id, wait, cached)
    if found is not UNFINISHED:
        return found.result
    if required:
        raise NotFinished(f"Task {task_id} has not finished.")
    return None


def fetch_cached(task_id: str, wait: int = 0, broker: Broker | None = None) -> Task | None:
    """``fetch`` from the cache. ``broker`` is accepted for Django-Q's sake: a cached result belongs to no queue."""
    return fetch(task_id, wait, cached=True)


def result_cached(task_id: str, wait: int = 0, broker: Broker | None = None) -> Any:
    """``result`` from the cache."""
    return result(task_id, wait, cached=True)


def delete_cached(task_id: str, broker: Broker | None = None) -> bool:
    """Forget a cached result; whether there was one."""
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
    """What the tasks of a group returned, the newest first; with ``failures`` also the errors of the failed ones.

    Waits and raises as ``fetch_group`` does.
    """
    return [task.result for task in fetch_group(group_id, failures, wait, count, cached)]


def fetch_group(
    group_id: str,
    failures: bool = True,
    wait: int | None = None,
    count: int | None = None,
    cached: bool | None = None,
) -> list[Task]:
    """The finished tasks of a group, the newest first; without ``failures`` only those that succeeded.

    ``wait`` (milliseconds) waits for the first of them, or with ``count`` until so many have ended, failed ones
    included; then what there is is returned. Without ``wait``, ``count`` waits as long as it takes, as in Django-Q.

    Raises ``ResultsPruned`` when some of them are no longer kept: a part is never returned as the whole.
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
    """How many tasks of a group have finished, those that are no longer kept included; with ``failures``, how many
    have failed."""
    return _store_for(cached).count(group_id, failures=failures)


def delete_group(group_id: str, tasks: bool = False, cached: bool | None = None) -> int:
    """Clear the group's label from its tasks, or with ``tasks`` delete them; how many there were.

    What is in the cache always goes.
    """
    return _store_for(cached).delete_group(group_id, tasks=tasks)


def result_group_cached(
    group_id: str,
    failures: bool = False,
    wait: int | None = None,
    count: int | None = None,
    broker: Broker | None = None,
) -> list[Any]:
    """``result_group`` from the cache."""
    return result_group(group_id, failures, wait, count, cached=True)


def fetch_group_cached(
    group_id: str,
    failures: bool = True,
    wait: int | None = None,
    count: int | None = None,
    broker: Broker | None = None,
) -> list[Task]:
    """``fetch_group`` from the cache."""
    return fetch_group(group_id, failures, wait, count, cached=True)


def count_group_cached(group_id: str, failures: bool = False, broker: Broker | None = None) -> int | None:
    """``count_group`` from the cache; None for a group of which the cache knows nothing."""
    cached = get_client().results.cached
    return cached.count(group_id, failures=failures) if cached.knows_group(group_id) else None


def delete_group_cached(group_id: str, broker: Broker | None = None) -> int:
    """``delete_group`` from the cache: the group and its results; how many there were."""
    return delete_group(group_id, tasks=True, cached=True)


def _true(reached: bool) -> bool | Unfinished:
    return reached or UNFINISHED
