"""The state of a Django connection, and what its errors mean: stale, dead, in conflict, on the wrong server."""

from __future__ import annotations

import random
import re
import time

from django.db import DatabaseError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_cluster.database.watchdog import bounded

RETRY_SECONDS = 20.0
"""Seconds for which work is tried again while other transactions hold the locks that it needs."""

RETRY_PAUSE_SECONDS = 0.01, 0.05
"""Seconds between two tries, at random, so that two transactions in conflict do not conflict again."""

CONFLICT_CODES = frozenset({"40001", "40P01", "55P03", 1020, 1205, 1213})
"""Codes of PostgreSQL (text) and MariaDB (numbers) for a deadlock, a serialization failure or a lock timeout."""

WRONG_SERVER_CODES = frozenset({"25006", "57P01", "57P02", "57P03", "53300", 1040, 1290, 1792, 1836})
"""What a server says that is there and of no use: read-only, because another one writes now; starting, stopping, or out
of connections."""

LOCKED = re.compile(r"database (.+ )?is locked|locking protocol").fullmatch
"""SQLite has words only. "locking protocol" is what it says when another process has stood still for ten seconds while
it entered the write-ahead log (https://www.sqlite.org/rescode.html#protocol)."""

MISSING_TABLE_CODES = frozenset({"42P01", 1146})


def pause_before_retry() -> None:
    """Sleep for a moment before work is tried again."""
    time.sleep(random.uniform(*RETRY_PAUSE_SECONDS))  # noqa: S311  not a secret


def is_conflict(error: BaseException | None) -> bool:
    """Whether the same work may succeed when it is tried again."""
    code = error_code(error)
    if isinstance(code, str) and LOCKED(code) is not None:
        return True
    return code in CONFLICT_CODES


def is_missing_table(error: BaseException) -> bool:
    code = error_code(error)
    return code in MISSING_TABLE_CODES or (isinstance(code, str) and code.startswith("no such table"))


def is_wrong_server(error: BaseException | None) -> bool:
    """Whether this error, or what it comes from, says that another connection may lead to a better server."""
    while error is not None:
        if error_code(error) in WRONG_SERVER_CODES:
            return True
        error = error.__cause__
    return False


def close_after_error(error: BaseException | None) -> None:
    """Close the connections of this thread that no transaction uses: those that are broken, and after the words of a
    wrong server all.

    A proxy or a name leads to another server after a fail-over, but keeps the old sockets open.
    """
    wrong = is_wrong_server(error)
    for connection in connections.all(initialized_only=True):
        close_if_stale(connection)
        if wrong and not connection.in_atomic_block:
            connection.close()


def has_lost(connection: BaseDatabaseWrapper, used: object, error: BaseException | None = None) -> bool:
    """Whether ``used``, the connection to the server before ``error``, is gone; Django may have another already.

    One to a wrong server is closed, and then it is gone.
    """
    if is_wrong_server(error):
        connection.close()
    return used is not None and (connection.connection is not used or is_dead(connection))


def is_dead(connection: BaseDatabaseWrapper) -> bool:
    """Whether the connection has to be opened anew; one that is dead is closed."""
    if connection.connection is None:
        return True
    with bounded(connection):
        usable = connection.is_usable()
    if usable:
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


def error_code(error: BaseException | None) -> object:
    """The code that the database's library gives the error: SQLSTATE for PostgreSQL, a number for MariaDB, or words."""
    if not isinstance(error, DatabaseError):
        return None
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or next(iter(error.args), None)


REFUSED_ENTRY_CODES = frozenset({1044, 1045, 1049, 1698, "28000", "28P01", "3D000"})
"""Codes of MariaDB and PostgreSQL for a wrong user or password, or a database that does not exist."""
REFUSED_ENTRY = re.compile(
    r'password authentication failed|no password supplied|no pg_hba\.conf entry|(database|role) "[^"]*" does not exist'
)
"""PostgreSQL's words for the same: psycopg gives no code where it could not connect."""


def is_refused_entry(error: BaseException | None) -> bool:
    """Whether the server answers, and does not let us in: a wrong user or password, an unknown database."""
    return error_code(error) in REFUSED_ENTRY_CODES or bool(
        isinstance(error, OperationalError) and REFUSED_ENTRY.search(str(error))
    )
