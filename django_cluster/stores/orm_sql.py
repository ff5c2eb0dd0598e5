"""The one statement that writes rows, as each database wants to hear it.

It inserts, and where the row exists it updates only what may be updated: not a success, and not the
record of a later attempt. One statement decides, so that no row has to be read or locked first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, DataError, IntegrityError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from django_cluster.database.connection import error_code
from django_cluster.database.dialect import by_vendor, is_postgresql, is_sqlite
from django_cluster.models import Task
from django_cluster.stores import orm_postgres
from django_cluster.stores.rows import EVERYTHING, SUCCESS, Moment, Values

ROWS_PER_STATEMENT = 256

# What needs no parameter, because all successes at the first attempt have it in common.
CONSTANTS = {
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
}

# MariaDB and MySQL report by number, and some refusals of a value come as OperationalError: a character
# that the column's character set lacks (1366, 1300, 3988), a mix of collations (1267), a packet too big (1153).
MYSQL_DATA_ERRORS = frozenset({1153, 1267, 1300, 1366, 3988})

PROGRAM_LIMIT = "54"
"""The class of PostgreSQL's errors for what is larger than it can ever take: a value, an array, a row of an index."""


Quote = Callable[[str], str]


def write_rows(connection: BaseDatabaseWrapper, columns: Sequence[str], rows: Sequence[Values]) -> None:
    """Upsert up to ``ROWS_PER_STATEMENT`` rows; each task may occur once."""
    write = by_vendor(connection, WRITERS)
    if write is None:
        raise ImproperlyConfigured(f"Results cannot be kept in a database of the kind {connection.vendor!r}.")
    with connection.cursor() as cursor:
        write(cursor, connection.ops.quote_name, tuple(columns), rows)


def moment_writer(connection: BaseDatabaseWrapper) -> Moment:
    """Unix time → what ``write_rows`` takes for a ``DateTimeField``, ``USE_TZ`` or not."""
    if is_postgresql(connection):
        return float
    zone = connection.timezone or timezone.get_default_timezone()
    if is_sqlite(connection) and zone is UTC:
        return lambda moment: datetime.fromtimestamp(moment, UTC).isoformat(" ")[: -len("+00:00")]
    if is_sqlite(connection):
        return lambda moment: datetime.fromtimestamp(moment, zone).replace(tzinfo=None).isoformat(" ")
    return lambda moment: datetime.fromtimestamp(moment, zone).replace(tzinfo=None)


def packet_limit(connection: BaseDatabaseWrapper) -> int:
    """The most bytes that MariaDB takes in one statement. It hangs up on a longer one, without a reason."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@max_allowed_packet")
        return int(cursor.fetchone()[0])


def weight(values: Values) -> int:
    """The bytes that a row takes in a statement of MariaDB, its escapes included, and some more for the rest."""
    return 4000 + sum(_weight(value) for value in values if isinstance(value, (bytes, str)))


def _weight(value: bytes | str) -> int:
    data = value.encode("utf-8", "replace") if isinstance(value, str) else value
    return len(data) + sum(data.count(escaped) for escaped in b"\0'\"\\\n\r\x1a")


def is_data_error(error: Exception) -> bool:
    """Whether the database refused a value, and will refuse it again; or else it is the database itself."""
    if isinstance(error, DatabaseError) and not isinstance(error, (DataError, IntegrityError)):
        code = error_code(error)
        return code in MYSQL_DATA_ERRORS or (_is_sqlstate(code) and str(code).startswith(PROGRAM_LIMIT))
    return True


def _is_sqlstate(code: object) -> bool:
    """Whether it is a code of PostgreSQL, and not what SQLite says in words."""
    return isinstance(code, str) and len(code) == 5


# ── SQLite: one short statement, prepared once and bound for each row ────────────────────────────


def _write_to_sqlite(cursor: CursorWrapper, quote: Quote, columns: tuple[str, ...], rows: Sequence[Values]) -> None:
    cursor.executemany(_statement_for_sqlite(quote, columns), rows)


@lru_cache(maxsize=8)
def _statement_for_sqlite(quote: Quote, columns: tuple[str, ...]) -> str:
    return f"{_insert(quote, columns)} VALUES {_placeholders(columns)} {_on_conflict(quote)}"


# ── PostgreSQL: one array for each column ────────────────────────────────────────────────────────

CONVERSIONS = {
    "enqueued_at": "to_timestamp({})",
    "started_at": "to_timestamp({})",
    "stopped_at": "to_timestamp({})",
    "attempts": "{}::jsonb",
    "options": "{}::jsonb",
}


def _write_to_postgresql(cursor: CursorWrapper, quote: Quote, columns: tuple[str, ...], rows: Sequence[Values]) -> None:
    orm_postgres.execute(cursor, _statement_for_postgresql(quote, columns), columns, rows)


@lru_cache(maxsize=8)
def _statement_for_postgresql(quote: Quote, columns: tuple[str, ...]) -> str:
    arrays = ", ".join(f"%s::{orm_postgres.kind_of(name)}" for name in columns)
    given = (CONVERSIONS.get(name, "{}").format(f"given.{quote(name)}") for name in columns)
    values = ", ".join((*given, *_constants(columns).values()))
    names = ", ".join(quote(name) for name in columns)
    return (
        f"{_insert(quote, columns)} SELECT {values} FROM unnest({arrays}) AS given({names}) "  # noqa: S608  our own names
        f"{_on_conflict(quote)}"
    )


# ── MariaDB and MySQL: all rows in one statement ─────────────────────────────────────────────────


def _write_to_mysql(cursor: CursorWrapper, quote: Quote, columns: tuple[str, ...], rows: Sequence[Values]) -> None:
    cursor.execute(_statement_for_mysql(quote, columns, len(rows)), [value for row in rows for value in row])


@lru_cache(maxsize=32)
def _statement_for_mysql(quote: Quote, columns: tuple[str, ...], count: int) -> str:
    rows = ", ".join([_placeholders(columns)] * count)
    return f"{_insert(quote, columns)} VALUES {rows} {_on_duplicate_key(quote)}"


# ── what they share ──────────────────────────────────────────────────────────────────────────────


def _insert(quote: Quote, columns: tuple[str, ...]) -> str:
    names = ", ".join(quote(name) for name in (*columns, *_constants(columns)))
    return f"INSERT INTO {_table(quote)} ({names})"


def _placeholders(columns: tuple[str, ...]) -> str:
    return f"({', '.join(['%s'] * len(columns) + list(_constants(columns).values()))})"


def _constants(columns: tuple[str, ...]) -> Mapping[str, str]:
    return {name: constant for name, constant in CONSTANTS.items() if name not in columns}


def _table(quote: Quote) -> str:
    return quote(Task._meta.db_table)


def _on_conflict(quote: Quote) -> str:
    changes = ", ".join(f"{quote(name)} = excluded.{quote(name)}" for name in EVERYTHING if name != "id")
    table, success, attempt = _table(quote), quote("success"), quote("attempt_count")
    return (
        f"ON CONFLICT ({quote('id')}) DO UPDATE SET {changes} "
        f"WHERE NOT {table}.{success} AND {table}.{attempt} <= excluded.{attempt}"
    )


def _on_duplicate_key(quote: Quote) -> str:
    """Assignments are made from left to right and see each other, so what the condition reads comes last."""
    table, success, attempt = _table(quote), quote("success"), quote("attempt_count")
    condition = f"NOT {table}.{success} AND {table}.{attempt} <= VALUES({attempt})"
    others = [name for name in EVERYTHING if name not in ("id", "success", "attempt_count")]
    changes = (
        f"{quote(name)} = IF({condition}, VALUES({quote(name)}), {table}.{quote(name)})"
        for name in (*others, "attempt_count", "success")
    )
    return f"ON DUPLICATE KEY UPDATE {', '.join(changes)}"


WRITERS: Mapping[str, Callable[[CursorWrapper, Quote, tuple[str, ...], Sequence[Values]], None]] = {
    "sqlite": _write_to_sqlite,
    "postgresql": _write_to_postgresql,
    "mysql": _write_to_mysql,
}
