"""What a project has registered: its tasks, their options, and the schedules that send them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import router

from django_cluster.core.function_signatures import loaded
from django_cluster.core.task_callable import TaskCallable
from django_cluster.models import Schedule
from django_cluster.schedules.declarations import registered_tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSummary:
    """A schedule of a task."""

    name: str
    rule: str
    """When it runs, in words of the active language."""
    next_run: datetime | None
    """None: there is no further run."""
    enabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredTask:
    """A function that was marked as a task, or for which a schedule is declared."""

    path: str
    """Dotted path of the function."""
    options: Mapping[str, Any]
    """Options of ``@task``; empty for functions without."""
    takes_context: bool
    schedules: tuple[ScheduleSummary, ...]


def list_tasks(queue: str | None = None, database: str | None = None) -> list[RegisteredTask]:
    """The registered tasks of the project, in the order of their paths. Imports the tasks of all apps.

    ``queue``: only tasks that go there by their own options. ``database``: alias under which the schedules are;
    None = as the routers say.
    """
    paths = registered_tasks()
    schedules = _schedules(paths, database or router.db_for_read(Schedule))
    found = [_described(path, schedules.get(path, ())) for path in paths]
    return [task for task in found if queue is None or task.options.get("queue") == queue]


def _described(path: str, schedules: Sequence[Schedule]) -> RegisteredTask:
    func = loaded(path)
    task = func if isinstance(func, TaskCallable) else None
    return RegisteredTask(
        path=path,
        options=dict(task.options) if task else {},
        takes_context=task is not None and task.takes_context,
        schedules=tuple(
            ScheduleSummary(
                name=row.name or str(row.pk), rule=row.describe(), next_run=row.next_run, enabled=row.enabled
            )
            for row in schedules
        ),
    )


def _schedules(paths: Sequence[str], database: str) -> dict[str, list[Schedule]]:
    """The rows of schedules by the path of their function, each in the order of the next run."""
    found: dict[str, list[Schedule]] = {}
    wanted = set(paths)
    for row in Schedule.objects.using(database).order_by("next_run", "pk"):
        if row.func in wanted:
            found.setdefault(row.func, []).append(row)
    return found


def plain(value: object) -> object:
    """An option as JSON can hold it: classes and functions by their names, durations in seconds."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each) for each in value]
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    name = getattr(value, "__qualname__", None)
    return f"{getattr(value, '__module__', '')}.{name}".removeprefix("builtins.") if name else str(value)
