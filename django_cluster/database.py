"""What the two ports must know of a Django connection: is it stale, is it dead, did we collide with others?"""

from __future__ import annotations

import random
import time

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

PATIENCE = 20.0
"""Seconds for which work is tried again while others hold the locks that it needs."""

PAUSE = 0.01, 0.05
"""Seconds between two tries, at random, so that those who collided do not collide again."""

COLLISIONS = frozenset({"40001", "40P01", "55P03", 1020, 1205, 1213})
"""What PostgreSQL (text) and MariaDB (numbers) call a deadlock, a lost race, or a lock that was not to be had."""

MISSING_TABLE = frozenset({"42P01", 1146})


def rest() -> None:
    """Between two tries."""
    time.sleep(random.uniform(*PAUSE))  # noqa: S311  not a secret


def is_collision(error: BaseException | None) -> bool:
    """Whether the same work may well succeed in a moment."""
    code = _code(error)
    if isinstance(code, str) and code.startswith("database ") and code.endswith(" is locked"):
        return True  # SQLite has words only: "database is locked", "database table is locked"
    return code in COLLISIONS


def is_missing_table(error: BaseException) -> bool:
    code = _code(error)
    return code in MISSING_TABLE or (isinstance(code, str) and code.startswith("no such table"))


def has_lost(connection: BaseDatabaseWrapper, used: object) -> bool:
    """Whether ``used``, the connection to the server before an error, is gone; Django may have another already."""
    return used is not None and (connection.connection is not used or is_dead(connection))


def is_dead(connection: BaseDatabaseWrapper) -> bool:
    """Whether the connection has to be opened anew; one that is dead is closed."""
    if connection.connection is None:
        return True
    if connection.is_usable():
        connection.errors_occurred = False
        return False
    connection.close()
    return True


def close_if_stale(connection: BaseDatabaseWrapper) -> None:
    """Close a connection that is broken or too old; the next statement opens another.

    Django's own ``close_if_unusable_or_obsolete`` would close it each time where ``CONN_MAX_AGE`` is 0,
    which means "after each request"; here there are no requests, and connecting is the dearest step.
    """
    if connection.connection is None or connection.in_atomic_block:
        return
    too_old = connection.close_at is not None and connection.close_at <= time.monotonic()
    if (too_old and connection.settings_dict["CONN_MAX_AGE"]) or (connection.errors_occurred and is_dead(connection)):
        connection.close()


def _code(error: BaseException | None) -> object:
    """The code that the database's library gives the error."""
    if not isinstance(error, DatabaseError):
        return None
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or next(iter(error.args), None)
