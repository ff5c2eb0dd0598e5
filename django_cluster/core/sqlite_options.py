"""Which options an SQLite database needs when several processes write to it.

SQLite lets one connection write at a time. Two things make a second writer fail instead of wait:

- A transaction that reads first and writes later (Django's default, ``BEGIN DEFERRED``) cannot wait when another
  connection has written in between: its snapshot is old, and SQLite answers "database is locked" immediately.
  ``BEGIN IMMEDIATE`` takes the write lock first, and so waits before it reads.
- The wait ends after ``timeout`` seconds (Python's default: 5). SQLite's queue is not fair: a connection asks again
  after 1 to 100 milliseconds, and may lose each time against others that asked in the right moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TRANSACTION_MODE = "IMMEDIATE"

TASK_TIMEOUT = 60
"""Seconds for which the connection of a task or a hook waits for the write lock."""
OWN_TIMEOUT = 20
"""Seconds for which a connection of the cluster itself waits: less, because a process that only waits is replaced.
What it does is tried again."""

IN_MEMORY = (":memory:", "mode=memory")
READ_ONLY = ("mode=ro", "immutable=1")


def is_sqlite(database: Mapping[str, Any]) -> bool:
    """Whether an entry of ``DATABASES`` is SQLite, as far as the name of its engine tells."""
    engine = str(database.get("ENGINE", "")).lower()
    return "sqlite" in engine or "spatialite" in engine


def is_shared_file(database: Mapping[str, Any]) -> bool:
    """Whether an entry of ``DATABASES`` is an SQLite file to which several processes may write."""
    name = str(database.get("NAME") or ":memory:")
    return is_sqlite(database) and not any(sign in name for sign in (*IN_MEMORY, *READ_ONLY))


def waiting_options(options: Mapping[str, Any], timeout: float) -> dict[str, Any]:
    """``OPTIONS`` with which a connection waits for others that write. What the project has set stays."""
    return {"transaction_mode": TRANSACTION_MODE, "timeout": timeout, **options}


def chooses_journal(database: Mapping[str, Any]) -> bool:
    """Whether the project itself sets the journal mode, by Django's ``init_command``."""
    return "journal_mode" in str((database.get("OPTIONS") or {}).get("init_command", "")).lower()


def missing_options(database: Mapping[str, Any]) -> list[str]:
    """The options without which a process of the project may be told "database is locked"."""
    options = database.get("OPTIONS") or {}
    return [name for name in ("transaction_mode", "timeout") if name not in options]
