"""What views call: thin verbs over the client.

Django-Q's names and arguments. Times in seconds, but for the ``wait`` of the readers: milliseconds, as
there (0 = one look, negative = for ever).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

from django.db import transaction

from django_cluster.brokers.base import Broker, Message
from django_cluster.client import get_client
from django_cluster.core.call import build_options, build_packages, part
from django_cluster.core.naming import task_name
from django_cluster.errors import NotFinished
from django_cluster.lifecycle.schedules import build_schedule
from django_cluster.models import Schedule, Task
from django_cluster.stores.base import UNFINISHED, ResultStore, Unfinished, wait_for

__all__ = [
    "async_bulk",
    "async_task",
    "count_group",
    "delete_cached",
    "delete_group",
    "fetch",
    "fetch_cached",
    "fetch_group",
    "queue_size",
    "requeue",
    "resubmit",
    "result",
    "result_cached",
    "result_group",
    "schedule",
]


# ── asking for work ──────────────────────────────────────────────────────────────────────────────


def async_task(func: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> str:
    """Have ``func(*args, **kwargs)`` called by the cluster; returns the task id.

    Options are taken out of the keywords: ``hook``, ``group``, ``save``, ``sync``, ``cached``,
    ``ack_failure``, ``timeout``, ``task_name``, ``cluster``, ``broker``. With ``q_options={...}`` they stand
    there, every other keyword is the function's own, and there may also be ``max_attempts``, ``retry_delay``,
    ``priority``, ``delay`` (seconds), ``eta`` (a datetime), and ``on_commit`` (see the setting of this name).

    Raises ``NotSerializable``, ``BrokerUnavailable``, ``BrokerRefused``; with ``sync`` what the task raises.
    """
    return _submit(func, [args], kwargs)[0]


def async_bulk(func: Callable[..., Any] | str, calls: Iterable[Sequence[Any] | Any], **kwargs: Any) -> list[str]:
    """One task for each item of ``calls``, sent in as few round trips as possible; returns their ids.

    An item is the tuple (or list) of positional arguments, or a single argument. Keywords and options as of
    ``async_task``, the same for all.
    """
    arguments = [tuple(item) if isinstance(item, tuple | list) else (item,) for item in calls]
    return _submit(func, arguments, kwargs)


def _submit(func: Callable[..., Any] | str, calls: Sequence[tuple[Any, ...]], kwargs: dict[str, Any]) -> list[str]:
    own, given = part(kwargs)
    packages = build_packages(func, calls, own, build_options(given), given.get("task_name"))
    if packages:
        client = get_client(given.get("cluster"))
        client.submit(packages, sync=given.get("sync"), broker=given.get("broker"), on_commit=given.get("on_commit"))
    return [package.id for package in packages]


def schedule(func: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> Schedule:
    """Keep a standing order; returns its row.

    Keywords: ``name``, ``hook``, ``schedule_type``, ``minutes``, ``repeats``, ``next_run``, ``cron``, ``cluster``,
    ``intended_date_kwarg``; all others are the function's. A used name raises ``IntegrityError``.
    """
    settings = get_client(kwargs.get("cluster")).settings
    zone = settings.schedule.time_zone
    places = {"q_zone": ZoneInfo(zone) if zone else None, "q_database": settings.results.database}
    return build_schedule(func, *args, **{**places, **kwargs})


def resubmit(task: Task) -> str:
    """Send a finished task again, as a new one with every option that it had; returns the new id.

    A name that was given is kept, a moment that it had to wait for (``delay``, ``eta``) is not. Raises
    ``PackageError`` when the arguments can no longer be read.
    """
    args, kwargs = _arguments_of(task)
    options = replace(task.given_options, not_before=None)
    name = task.name if task.name != task_name(task.id) else None
    packages = build_packages(task.func, [args], kwargs, options, name)
    get_client(task.cluster).submit(packages)
    return packages[0].id


def _arguments_of(task: Task) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Those of the row; a task that was put aside unopened has them in its message only."""
    if task.sealed_arguments is None and task.payload:
        package = get_client(task.cluster).codec.loads(task.payload)
        return package.args, dict(package.kwargs)
    return task.args, task.kwargs


def requeue(task: Task) -> None:
    """Give a task that was put aside back to its queue, as it came: the same message, the same id, no attempts yet.

    Raises ``ValueError`` for a task whose message was not kept (see ``resubmit``).
    """
    if not task.payload:
        raise ValueError(f"The message of task {task.id} was not kept; resubmit() sends a new one.")
    with transaction.atomic(using=task._state.db):
        Task.objects.using(task._state.db).filter(pk=task.pk, success=False).update(attempt_count=0)
        get_client(task.cluster).broker.enqueue([Message(task.payload)])


# ── reading results ──────────────────────────────────────────────────────────────────────────────


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


def _wait_for(task_id: str, wait: int, cached: bool | None) -> Task | Unfinished:
    results = _place(cached)

    def look() -> Task | Unfinished:
        return results.get(task_id) or UNFINISHED

    return wait_for(look, wait)


def _place(cached: bool | None) -> ResultStore:
    """Where to look: the rows, the cache, or (None) wherever the result may be."""
    results = get_client().results
    if cached is None:
        return results
    return results.cached if cached else results.rows


def delete_cached(task_id: str, broker: Broker | None = None) -> bool:
    """Forget a cached result; whether there was one."""
    return get_client().results.cached.delete(task_id)


# ── groups ───────────────────────────────────────────────────────────────────────────────────────


def result_group(group_id: str, failures: bool = False) -> list[Any]:
    """What the tasks of a group returned; with ``failures`` also the errors of the failed ones."""
    return [task.result for task in fetch_group(group_id, failures)]


def fetch_group(group_id: str, failures: bool = True) -> list[Task]:
    """The finished tasks of a group."""
    return get_client().results.group(group_id, failures=failures)


def count_group(group_id: str, failures: bool = False) -> int:
    """How many tasks of a group have finished; with ``failures``, how many have failed."""
    return get_client().results.count(group_id, failures=failures)


def delete_group(group_id: str, tasks: bool = False) -> int:
    """Clear the group's label from its tasks, or with ``tasks`` delete them; how many there were."""
    return get_client().results.delete_group(group_id, tasks=tasks)


# ── looking ──────────────────────────────────────────────────────────────────────────────────────


def queue_size(broker: Broker | None = None) -> int:
    """How many tasks wait to be run; those that run or are delayed do not count."""
    return (broker or get_client().broker).size().ready
