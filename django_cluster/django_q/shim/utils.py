"""Utilities of Django-Q: calendar arithmetic, names of functions, one run of the scheduler."""

from __future__ import annotations

import calendar
import inspect
from collections.abc import Callable
from datetime import date, datetime
from typing import Any, TypeVar

from django.db import close_old_connections
from django.utils import timezone

from django_cluster.conf import load_settings

VERSION = (1, 11, 1)
"""Version of Django-Q whose names these are."""
__version__ = ".".join(map(str, VERSION))

Day = TypeVar("Day", bound=date)


def add_months(d: Day, months: int) -> Day:
    """The date ``months`` later; the last day of the month if it is shorter."""
    year, month = divmod(d.year * 12 + d.month - 1 + months, 12)
    return d.replace(year=year, month=month + 1, day=min(d.day, calendar.monthrange(year, month + 1)[1]))


def add_years(d: Day, years: int) -> Day:
    """The date ``years`` later; 29 February becomes 28 February."""
    return add_months(d, 12 * years)


def localtime(value: datetime | None = None) -> datetime:
    """The moment (default: now) in the zone of the schedules; naive without ``USE_TZ``."""
    moment = value or timezone.now()
    return timezone.localtime(moment) if timezone.is_aware(moment) else moment


def get_func_repr(func: Any) -> str | None:
    """The path of a function or class method, or the text of anything else."""
    if inspect.isfunction(func):
        return f"{func.__module__}.{func.__name__}"
    if inspect.ismethod(func) and hasattr(func.__self__, "__name__"):
        return f"{func.__self__.__module__}.{func.__self__.__name__}.{func.__name__}"
    return str(func) if func else None


def close_old_django_connections() -> None:
    """Close connections that are too old or unusable; with ``sync`` they belong to the caller, and stay."""
    if not load_settings().sync:
        close_old_connections()


def scheduler(broker: Any = None) -> None:
    """Send what is due now, as a cluster's scheduler does; ``broker``: instead of the configured one."""
    from django_cluster.client.client import get_client
    from django_cluster.lifecycle.send import TaskRouter
    from django_cluster.schedules.dispatcher import ScheduleDispatcher

    client = get_client()
    settings, queue = client.settings, broker or client.broker
    send: Callable[..., None] = TaskRouter(client.codec, queue).send
    ScheduleDispatcher(
        settings.schedule,
        queue=queue.queue,
        is_default=queue.queue == settings.name,
        send=send,
        database=settings.results.database,
        broker_database=queue.database,
    ).fire_due(timezone.now())
