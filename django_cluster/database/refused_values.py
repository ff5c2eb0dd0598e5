"""Which values a database refuses: by their size, and by the error that it raises."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import DatabaseError, DataError, IntegrityError
from django.db.backends.base.base import BaseDatabaseWrapper

from django_cluster.database.connection import error_code

MYSQL_DATA_ERRORS = frozenset({1153, 1267, 1300, 1366, 3988})
"""MariaDB and MySQL report by number, and some refusals of a value come as ``OperationalError``: a character that the
column's character set lacks (1366, 1300, 3988), a mix of collations (1267), a packet too big (1153)."""

PROGRAM_LIMIT = "54"
"""The class of PostgreSQL's errors for what is larger than it can ever take: a value, an array, a row of an index."""

ROW_OVERHEAD_BYTES = 4000
"""Bytes of a row in a statement besides its texts: numbers, moments, punctuation; more than it can be."""


def packet_limit(connection: BaseDatabaseWrapper) -> int:
    """The most bytes that MariaDB takes in one statement. It hangs up on a longer one, without a reason."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@max_allowed_packet")
        return int(cursor.fetchone()[0])


def weight(values: Iterable[Any]) -> int:
    """The bytes that a row takes in a statement of MariaDB, its escapes included, and some more for the rest."""
    return ROW_OVERHEAD_BYTES + sum(_weight(value) for value in values if isinstance(value, (bytes, str)))


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
