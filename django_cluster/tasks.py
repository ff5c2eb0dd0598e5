"""What views call, under Django-Q's names.

Times in seconds, but for the ``wait`` of the readers: milliseconds, as there (0 = one look, negative = for ever).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

from django.db import transaction

from django_cluster.brokers.base import Broker, Message
from django_cluster.calls import async_bulk, async_task
from django_cluster.client import get_client
from django_cluster.composition import AsyncTask, Chain, Group, Iter, async_chain, async_iter, call
from django_cluster.core.call import build_packages
from django_cluster.core.naming import task_name
from django_cluster.lifecycle.new_schedule import build_schedule
from django_cluster.models import Schedule, Task
from django_cluster.results import (
    count_group,
    count_group_cached,
    delete_cached,
    delete_group,
    delete_group_cached,
    fetch,
    fetch_cached,
    fetch_group,
    fetch_group_cached,
    result,
    result_cached,
    result_group,
    result_group_cached,
)

__all__ = [
    "AsyncTask",
    "Chain",
    "Group",
    "Iter",
    "async_bulk",
    "async_chain",
    "async_iter",
    "async_task",
    "call",
    "count_group",
    "count_group_cached",
    "delete_cached",
    "delete_group",
    "delete_group_cached",
    "fetch",
    "fetch_cached",
    "fetch_group",
    "fetch_group_cached",
    "queue_size",
    "requeue",
    "resubmit",
    "result",
    "result_cached",
    "result_group",
    "result_group_cached",
    "schedule",
]


# ── asking for work ──────────────────────────────────────────────────────────────────────────────


def schedule(func: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> Schedule:
    """Keep a standing order; returns its row.

    Keywords: ``name``, ``hook``, ``schedule_type``, ``minutes``, ``repeats``, ``next_run``, ``cron``, ``cluster``,
    ``intended_date_kwarg``; all others are the function's. In ``q_options`` stand the options of its tasks, and
    ``catch_up``, ``time_zone``, ``starts_at``, ``ends_at``, ``no_overlap``, ``enabled``.

    Raises ``IntegrityError`` for a used name, ``ValidationError`` for what could never run, ``NotSerializable`` for
    arguments that text cannot hold faithfully, ``UnknownFunction``.
    """
    settings = get_client(kwargs.get("cluster")).settings
    zone = settings.schedule.time_zone
    places = {"q_zone": ZoneInfo(zone) if zone else None, "q_database": settings.results.database}
    return build_schedule(func, *args, **{**places, **kwargs})


def resubmit(task: Task, *, on_commit: bool | str | None = None) -> str:
    """Send a finished task again, as a new one with every option that it had; returns the new id.

    A name that was given is kept, a moment that it had to wait for (``delay``, ``eta``) is not. ``on_commit``: as
    the option of ``async_task``. Raises ``PackageError`` when the arguments can no longer be read.
    """
    args, kwargs = _arguments_of(task)
    options = replace(task.given_options, not_before=None, schedule=None)
    name = task.name if task.name != task_name(task.id) else None
    packages = build_packages(task.func, [args], kwargs, options, name)
    get_client(task.cluster).submit(packages, on_commit=on_commit)
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
        broker = get_client(task.cluster).broker_named(task.given_options.broker)
        broker.enqueue([Message(task.payload, task.given_options.priority if broker.capabilities.priority else 0)])


# ── looking ──────────────────────────────────────────────────────────────────────────────────────


def queue_size(broker: Broker | None = None) -> int:
    """How many tasks wait to be run; those that run or are delayed do not count."""
    return (broker or get_client().broker).size().ready
