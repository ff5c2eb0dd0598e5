"""The one statement that writes task rows: it updates neither a success nor the record of a later attempt."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from django_cluster.database.dialect import is_postgresql, is_sqlite
from django_cluster.database.upsert import UpsertTable
from django_cluster.models import Task
from django_cluster.stores.rows import EVERYTHING, SUCCESS

ROWS_PER_STATEMENT = 256

TASK_ROWS = UpsertTable(
    name=Task._meta.db_table,
    key="id",
    columns=EVERYTHING,
    constants={
        "correlation_id": "NULL",
        "status": f"'{SUCCESS}'",
        "success": "TRUE",
        "final": "TRUE",
        "attempt_count": "1",
        "error_kind": "''",
        "error_message": "''",
        "error_traceback": "''",
        "attempts": "NULL",
        "payload": "NULL",
        "options": "NULL",
        "fingerprint": "NULL",
        "post_mortem_data": "NULL",
    },
    condition="NOT {kept[success]} AND {kept[attempt_count]} <= {given[attempt_count]}",
    condition_columns=("attempt_count", "success"),
    arrays={
        "sealed_arguments": "bytea[]",
        "sealed_result": "bytea[]",
        "post_mortem_data": "bytea[]",
        "enqueued_at": "float8[]",
        "started_at": "float8[]",
        "stopped_at": "float8[]",
        "success": "bool[]",
        "final": "bool[]",
        "attempt_count": "int[]",
    },
    conversions={
        "enqueued_at": "to_timestamp({})",
        "started_at": "to_timestamp({})",
        "stopped_at": "to_timestamp({})",
        "attempts": "{}::jsonb",
        "options": "{}::jsonb",
    },
)
"""Constants are what all successes at the first attempt have in common."""


def moment_writer(connection: BaseDatabaseWrapper) -> Callable[[float], Any]:
    """Unix time → what ``TASK_ROWS`` takes for a ``DateTimeField``, ``USE_TZ`` or not."""
    if is_postgresql(connection):
        return float
    zone = connection.timezone or timezone.get_default_timezone()
    if is_sqlite(connection) and zone is UTC:
        return lambda moment: datetime.fromtimestamp(moment, UTC).isoformat(" ")[: -len("+00:00")]
    if is_sqlite(connection):
        return lambda moment: datetime.fromtimestamp(moment, zone).replace(tzinfo=None).isoformat(" ")
    return lambda moment: datetime.fromtimestamp(moment, zone).replace(tzinfo=None)
