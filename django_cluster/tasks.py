"""Send tasks, create schedules, read results: the functions that application code calls, under Django-Q's names.

Times are in seconds, except ``wait`` of the functions that read results: milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

from django_cluster.brokers.base import Broker
from django_cluster.client.async_calls import aasync_bulk, aasync_task, afetch, afetch_group, aresult, aresult_group
from django_cluster.client.client import get_client
from django_cluster.client.enqueue import async_bulk, async_task, warn_of_unknown_queue
from django_cluster.client.results import (
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
from django_cluster.client.retries import retry
from django_cluster.composition import AsyncTask, Chain, Group, Iter, async_chain, async_iter, call
from django_cluster.core.call_options import one_queue
from django_cluster.core.import_paths import dotted_path
from django_cluster.core.renamed_names import refuse
from django_cluster.lifecycle.admission import allowed_functions
from django_cluster.models import Schedule
from django_cluster.schedules.creation import build_schedule

__all__ = [
    "AsyncTask",
    "Chain",
    "Group",
    "Iter",
    "aasync_bulk",
    "aasync_task",
    "afetch",
    "afetch_group",
    "aresult",
    "aresult_group",
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
    "result",
    "result_cached",
    "result_group",
    "result_group_cached",
    "retry",
    "schedule",
]

__getattr__ = refuse(__name__, {"requeue": "retry(task)", "resubmit": "retry(task, as_new=True)"})


# ── asking for work ──────────────────────────────────────────────────────────────────────────────


def schedule(func: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> Schedule:
    """Create a schedule, which sends ``func(*args, **kwargs)`` as a task whenever it is due; returns its saved row.

    These keywords belong to the schedule: ``name``, ``schedule_type``, ``minutes``, ``cron``, ``next_run``,
    ``repeats`` (-1 = no limit), ``queue`` (or ``cluster``), ``hook``, ``intended_date_kwarg``; all others to the
    function. The dict ``q_options`` takes options of the tasks (see ``async_task``), and ``catch_up``, ``time_zone``,
    ``starts_at``, ``ends_at``, ``no_overlap``, ``enabled``.

    Raises ``IntegrityError`` if the name is taken, ``ValidationError`` for a rule that is never due,
    ``NotSerializable`` for arguments that cannot be stored, ``UnknownFunction``, ``UnsuitableFunction``,
    ``FunctionNotAllowed``.
    """
    queue = one_queue(kwargs.get("queue"), kwargs.pop("cluster", None))
    if queue is not None:
        kwargs["queue"] = queue
    warn_of_unknown_queue(queue)
    settings = get_client(queue).settings
    allowed = allowed_functions(settings.signing.functions)
    for path in (func, kwargs.get("hook"), (kwargs.get("q_options") or {}).get("hook")):
        if path and not allowed.unlimited:
            allowed.check(dotted_path(path))
    zone = settings.schedule.time_zone
    places = {
        "q_zone": ZoneInfo(zone) if zone else None,
        "q_database": settings.results.database,
        "q_json": settings.signing.serializer == "json",
    }
    return build_schedule(func, *args, **{**places, **kwargs})


# ── looking ──────────────────────────────────────────────────────────────────────────────────────


def queue_size(broker: Broker | None = None) -> int:
    """Return the number of tasks that are ready to run; running and delayed tasks are not counted."""
    return (broker or get_client().broker).size().ready
