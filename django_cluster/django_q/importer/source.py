"""Django-Q's tables, read without Django-Q: unmanaged models in a registry of their own."""

# ruff: noqa: DJ001, DJ008  these tables are what they are

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps.registry import Apps
from django.db import connections, models

BATCH = 500
"""Number of rows that are read and written together."""

_registry: Any = Apps()
"""A separate app registry: these models are invisible to migrations, admin and an installed Django-Q."""

SourceRow = dict[str, Any]


class _Table(models.Model):
    class Meta:
        abstract = True
        apps = _registry
        app_label = "django_q_source"
        managed = False


class SourceTask(_Table):
    """Pickled columns are text: nothing is opened by reading them."""

    id = models.CharField(max_length=32, primary_key=True)
    name = models.CharField(max_length=100)
    func = models.CharField(max_length=256)
    hook = models.CharField(max_length=256, null=True)
    args = models.TextField(null=True)
    kwargs = models.TextField(null=True)
    result = models.TextField(null=True)
    group = models.CharField(max_length=100, null=True)
    cluster = models.CharField(max_length=100, null=True)
    started = models.DateTimeField()
    stopped = models.DateTimeField()
    success = models.BooleanField()
    attempt_count = models.IntegerField()

    class Meta(_Table.Meta):
        db_table = "django_q_task"


class SourceSchedule(_Table):
    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=100, null=True)
    func = models.CharField(max_length=256)
    hook = models.CharField(max_length=256, null=True)
    args = models.TextField(null=True)
    kwargs = models.TextField(null=True)
    schedule_type = models.CharField(max_length=2)
    minutes = models.SmallIntegerField(null=True)
    repeats = models.IntegerField()
    next_run = models.DateTimeField(null=True)
    cron = models.CharField(max_length=100, null=True)
    task = models.CharField(max_length=100, null=True)
    cluster = models.CharField(max_length=100, null=True)
    intended_date_kwarg = models.CharField(max_length=100, null=True)

    class Meta(_Table.Meta):
        db_table = "django_q_schedule"


class SourceMessage(_Table):
    id = models.BigAutoField(primary_key=True)
    key = models.CharField(max_length=100)
    payload = models.TextField()
    lock = models.DateTimeField(null=True)

    class Meta(_Table.Meta):
        db_table = "django_q_ormq"


Source = type[SourceTask] | type[SourceSchedule] | type[SourceMessage]


def has_table(source: Source, database: str) -> bool:
    """Whether this database has the table; a project may have had another broker, or none of it."""
    connection = connections[database]
    with connection.cursor() as cursor:
        return source._meta.db_table in connection.introspection.table_names(cursor)


def columns_of(source: Source, database: str) -> set[str]:
    """The columns that the table has; empty if there is no table."""
    if not has_table(source, database):
        return set()
    connection = connections[database]
    with connection.cursor() as cursor:
        described = connection.introspection.get_table_description(cursor, source._meta.db_table)
    return {column.name for column in described}


def batches(source: Source, database: str) -> Iterator[Sequence[SourceRow]]:
    """All rows in the order of their keys, with the columns that this version of Django-Q has."""
    present = columns_of(source, database)
    columns = [field.name for field in source._meta.fields if field.column in present]
    last: Any = None
    while True:
        rows: Any = models.QuerySet(source, using=database).order_by("pk").values(*columns)
        found = list((rows if last is None else rows.filter(pk__gt=last))[:BATCH])
        if not found:
            return
        last = found[-1]["id"]
        yield found
