"""Declare schedules in the code, beside the functions that they call.

Each decorator returns the function unchanged. A declared schedule gets its row when a cluster starts, is updated when
the declaration changes, and is deleted a few minutes after the last cluster that knew it has stopped. Put the
functions into the ``tasks`` module of an installed app, or into a module that it imports.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Any, TypeVar

from django.core.exceptions import ValidationError

from django_cluster.core.call_options import one_queue
from django_cluster.core.cron import is_available
from django_cluster.core.due import CatchUp
from django_cluster.core.function_signatures import check_function
from django_cluster.core.import_paths import defined_at, dotted_path
from django_cluster.core.packages import check_hook
from django_cluster.core.renamed_names import refuse
from django_cluster.models.schedule import Schedule
from django_cluster.models.schedule_timing import MOMENTS
from django_cluster.schedules.creation import arguments_as_text, check_call_of_schedule, check_schedule
from django_cluster.schedules.declarations import declare, register_task, registered_tasks

__all__ = ["cron_task", "periodic_task", "registered_tasks", "schedulable"]

__getattr__ = refuse(__name__, {"schedule": "periodic_task", "task": "schedulable"})

Func = TypeVar("Func", bound=Callable[..., Any])


def schedulable(func: Func) -> Func:
    """Register a function, so that users of the admin without ``schedule_any_function`` may schedule it.

    With the setting ``functions = "registered"`` workers run registered functions only. ``django_cluster.task``
    registers its functions as well. Raises ``UnknownFunction``, ``UnsuitableFunction``.
    """
    check_function(func)
    register_task(func)
    return func


def periodic_task(
    *,
    schedule_type: str,
    minutes: int | None = None,
    cron: str | None = None,
    next_run: datetime | None = None,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    name: str | None = None,
    queue: str | None = None,
    cluster: str | None = None,
    hook: Callable[..., Any] | str | None = None,
    intended_date_kwarg: str | None = None,
    repeats: int = -1,
    time_zone: str | tzinfo | None = None,
    catch_up: CatchUp | str | None = None,
    no_overlap: bool = False,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
    q_options: Mapping[str, Any] | None = None,
) -> Callable[[Func], Func]:
    """Declare a schedule for the decorated function; the keywords are those of ``django_cluster.tasks.schedule``.

    ``next_run``: the moment from which runs are counted; if it is in the past, no run is made up for. Without it, the
    first run is due immediately. ``args``, ``kwargs``: the arguments of each call. ``name``: required if a function is
    declared more than once. ``cluster``: the same as ``queue``.

    Raises ``ValueError`` for a rule that is never due, ``TypeError`` for a hook that does not take the finished task
    and for a function that does not take ``args`` and ``kwargs``, ``UnknownFunction``, ``UnsuitableFunction``.
    """
    if hook:
        check_hook(hook)
    columns = {
        "schedule_type": schedule_type,
        "minutes": minutes,
        "cron": cron,
        "next_run": next_run,
        "queue": one_queue(queue, cluster),
        "hook": dotted_path(hook) if hook else None,
        "intended_date_kwarg": intended_date_kwarg,
        "repeats": repeats,
        "time_zone": str(time_zone) if time_zone else None,
        "catch_up": str(CatchUp(catch_up)) if catch_up else None,
        "no_overlap": no_overlap,
        "starts_at": starts_at,
        "ends_at": ends_at,
    }
    _, texts = arguments_as_text(tuple(args), {**(kwargs or {}), "q_options": q_options})
    columns |= texts

    def declared(func: Func) -> Func:
        row = Schedule(func=defined_at(func), **columns)
        check_function(func)
        _check(row, q_options)
        check_call_of_schedule(func, args, kwargs, intended_date_kwarg)
        declare(func, {**columns, **{moment: getattr(row, moment) for moment in MOMENTS & columns.keys()}}, name)
        return func

    return declared


def cron_task(cron: str | None = None, *, every: timedelta | None = None, **more: Any) -> Callable[[Func], Func]:
    """Declare a schedule: ``@cron_task("0 5 * * *")``, or ``@cron_task(every=timedelta(minutes=15))``.

    ``every``: a whole number of minutes. ``more``: the other keywords of ``periodic_task``. Raises ``ValueError``
    unless exactly one of ``cron`` and ``every`` is given, and what ``periodic_task`` raises.
    """
    if (cron is None) == (every is None):
        raise ValueError("A cron_task has either an expression, such as '0 5 * * *', or every=timedelta(...).")
    if every is None:
        return periodic_task(schedule_type=Schedule.CRON, cron=cron, **more)
    minutes, rest = divmod(every, timedelta(minutes=1))
    if rest or minutes < 1:
        raise ValueError(f"every is a whole number of minutes, not {every}.")
    return periodic_task(schedule_type=Schedule.MINUTES, minutes=minutes, **more)


def _check(row: Schedule, options: Mapping[str, Any] | None) -> None:
    """Validate the row. A cron expression needs croniter; where it is missing, ``manage.py check`` reports that."""
    if row.schedule_type == Schedule.CRON and row.cron and not is_available():
        row.schedule_type = Schedule.HOURLY  # the row is only looked at
    try:
        check_schedule(row, options)
    except ValidationError as error:
        raise ValueError(f"The schedule of {row.func}: {' '.join(error.messages)}") from None
