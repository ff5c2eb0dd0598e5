"""Schedules that can never run, as Django system checks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from django.core.checks import CheckMessage, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, InterfaceError, router
from django.utils import timezone

from django_cluster import conf
from django_cluster.checks.messages import TAG
from django_cluster.core import cron
from django_cluster.core.import_paths import dotted_path
from django_cluster.core.settings import problems
from django_cluster.errors import ClusterError
from django_cluster.models.schedule import Schedule
from django_cluster.schedules.declarations import declarations, discover

MAX_ROWS = 10_000
"""Rows that are checked at most."""
MAX_MESSAGES = 20
"""Maximum number of messages."""


@register(TAG)
def check_declared_schedules(app_configs: object = None, **_: object) -> list[CheckMessage]:
    """Check for declared cron schedules where croniter is not installed. Only then the tasks of the project are
    imported."""
    if cron.is_available():
        return []
    discover()
    return [
        _message(f"The schedule that is declared for {each.func} cannot run. {cron.CRONITER_MISSING}")
        for each in declarations()
        if each.columns.get("schedule_type") == Schedule.CRON
    ]


@register(Tags.database)
def check_kept_schedules(databases: Sequence[str] | None = None, **_: object) -> list[CheckMessage]:
    """Check the rows of schedules; called by ``manage.py check --database``. Nothing where there is no table yet."""
    try:
        alias = conf.load_settings().results.database or router.db_for_read(Schedule)
    except (ClusterError, ImproperlyConfigured):
        return []  # other checks say what is wrong
    if alias not in (databases or ()):
        return []
    rows = Schedule.objects.using(alias).filter(enabled=True).exclude(repeats=0).order_by("pk")
    try:
        return list(islice(_messages(rows[:MAX_ROWS].iterator()), MAX_MESSAGES))
    except (DatabaseError, InterfaceError):
        return []


def _messages(rows: Iterator[Schedule]) -> Iterator[CheckMessage]:
    for row in rows:
        if problem := _problem(row):
            yield _message(f"The schedule {str(row)!r} ({row.pk}) cannot run: {problem}")


def _problem(row: Schedule) -> str:
    now = timezone.now()
    checks: tuple[Any, ...] = (
        lambda: row.columns.rule_from(now).check(),
        lambda: row.zone(now),
        lambda: dotted_path(row.func),
    )
    for check in checks:
        try:
            check()
        except (ValueError, ImportError, ClusterError) as error:
            return str(error)
    return ""


def _message(sentence: str) -> CheckMessage:
    return Warning(sentence, id=f"{TAG}.{problems.UNFIREABLE_SCHEDULE}")
