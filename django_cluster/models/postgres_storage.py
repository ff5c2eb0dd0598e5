"""How PostgreSQL keeps large payloads and values: as they are.

It would compress whatever is longer than 2 kB. That costs it milliseconds for 100 kB, once for the message and once for
the row, and most messages live for less than a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connections
from django.db.models import Model

from django_cluster.models.large_payload import LargePayload
from django_cluster.models.queued_task import QueuedTask
from django_cluster.models.task import Task

LARGE_COLUMNS: Sequence[tuple[type[Model], Sequence[str]]] = (
    (QueuedTask, ("payload",)),
    (LargePayload, ("payload",)),
    (Task, ("sealed_arguments", "sealed_result")),
)

COMPRESSED = (
    "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = ANY(%s) AND attstorage = 'x'"
)
"""Columns with PostgreSQL's default storage; a storage that was chosen otherwise is kept."""


def disable_compression(using: str, plan: Sequence[tuple[Any, bool]] = (), **_: Any) -> None:
    """After ``migrate`` has changed our tables. Says how new values are written, and rewrites none."""
    connection = connections[using]
    ours = any(migration.app_label == "django_cluster" and not backwards for migration, backwards in plan)
    if not ours or connection.vendor != "postgresql":
        return
    quote = connection.ops.quote_name
    with connection.cursor() as cursor:
        for model, columns in LARGE_COLUMNS:
            table = quote(model._meta.db_table)
            cursor.execute(COMPRESSED, [table, list(columns)])
            changes = [f"ALTER COLUMN {quote(name)} SET STORAGE EXTERNAL" for (name,) in cursor.fetchall()]
            if changes:
                cursor.execute(f"ALTER TABLE {table} {', '.join(changes)}")
