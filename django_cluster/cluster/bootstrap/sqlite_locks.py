"""Connections of a cluster's processes to SQLite wait for the write lock, and do not fail with "database is locked"."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from django_cluster.core.sqlite_options import chooses_journal, is_shared_file, waiting_options
from django_cluster.database.dialect import is_sqlite

_checked_for_wal: set[str] = set()
"""Aliases whose files are known to be in WAL mode, or have to stay as they are."""


def wait_for_locks(timeout: float) -> None:
    """Give this process's connections to SQLite files ``BEGIN IMMEDIATE``, a wait of ``timeout`` seconds, and WAL mode.

    Each of the three only where the project's ``OPTIONS`` say nothing about it. Call it before a connection is opened.
    """
    for alias in connections:
        database = connections.databases[alias]
        if is_shared_file(database) and not _is_write_protected(str(database["NAME"])):
            database["OPTIONS"] = waiting_options(database.get("OPTIONS") or {}, timeout)
    connection_created.connect(_use_wal, dispatch_uid="django_cluster.sqlite_locks")


def _use_wal(connection: BaseDatabaseWrapper, **_: Any) -> None:
    """Switch a file to WAL mode, which it remembers; asked once of each alias.

    Without WAL mode a reader and a writer exclude each other.
    """
    if not is_sqlite(connection) or connection.alias in _checked_for_wal:
        return
    if not is_shared_file(connection.settings_dict) or chooses_journal(connection.settings_dict):
        _checked_for_wal.add(connection.alias)
        return
    with suppress(sqlite3.OperationalError):  # in use, or not writable: the next connection asks again
        raw: Any = connection.connection
        raw.execute("PRAGMA journal_mode=WAL")
        _checked_for_wal.add(connection.alias)


def _is_write_protected(path: str) -> bool:
    """Whether ``BEGIN IMMEDIATE`` would be refused."""
    return os.path.exists(path) and not os.access(path, os.W_OK)
