"""Whether the tables of this package are in a database."""

from __future__ import annotations

import pkgutil
from collections.abc import Sequence
from pathlib import Path

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Model

from django_cluster import migrations, models
from django_cluster.database.dialect import is_sqlite
from django_cluster.database.watchdog import bounded, connect

QUEUE_MODELS: tuple[type[Model], ...] = (models.QueuedTask, models.AcknowledgedMessages)
"""What the ORM broker writes."""
RESULT_MODELS: tuple[type[Model], ...] = tuple(
    model for name in models.__all__ if not (model := getattr(models, name))._meta.proxy and model not in QUEUE_MODELS
)
"""What clusters write beside the queue, whichever broker it is."""


def missing_tables(alias: str, wanted: Sequence[type[Model]], seconds: float) -> list[str]:
    """The names of the tables of ``wanted`` that are not there.

    ``seconds``: for which each statement may wait. Raises the errors of the database.
    """
    connection = connections[alias]
    names = [model._meta.db_table for model in wanted]
    if _is_absent_file(connection):
        return names  # to connect would make an empty file
    connect(connection)
    with bounded(connection, seconds):
        there = set(connection.introspection.table_names())
    return [name for name in names if name not in there]


def missing_migrations(alias: str, seconds: float) -> list[str]:
    """Our migrations that were not applied; none where none of them was, and tables were made in another way."""
    connection = connections[alias]
    with bounded(connection, seconds):
        applied = {name for app, name in MigrationRecorder(connection).applied_migrations() if app == "django_cluster"}
    ours = [module.name for module in pkgutil.iter_modules(migrations.__path__)]
    return sorted(set(ours) - applied) if applied else []


def _is_absent_file(connection: BaseDatabaseWrapper) -> bool:
    if not is_sqlite(connection) or connection.connection is not None:
        return False
    name = str(connection.settings_dict["NAME"])
    return ":memory:" not in name and not name.startswith("file:") and not Path(name).exists()
