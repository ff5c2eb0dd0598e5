"""Changes rows by their keys: an UPDATE whose text is made once. The ORM takes most of a millisecond to make it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.models import Model

from django_cluster.database.dialect import is_postgresql

LAZY_COMMIT = " AND (SELECT set_config('synchronous_commit', 'off', true)) IS NOT NULL"
"""PostgreSQL answers before the commit is on its disk, for this one statement.

See https://www.postgresql.org/docs/current/wal-async-commit.html: a crash of the server may forget the last moments, in
the order of the commits; nothing else can.
"""


def update_row(
    cursor: CursorWrapper,
    model: type[Model],
    key: object,
    changes: Mapping[str, Any],
    *,
    where: Mapping[str, Any],
    lazy: bool = False,
) -> bool:
    """Change the row with this primary key, if it is as ``where`` says; whether it was.

    ``changes``, ``where``: field → value; in ``where``, a tuple means one of its values. ``lazy``: whether a crash of
    the database may undo it, where that makes the commit quicker; ignored inside a transaction.
    """
    return bool(update_rows(cursor, model, [key], changes, where=where, lazy=lazy))


def update_rows(
    cursor: CursorWrapper,
    model: type[Model],
    keys: Sequence[object],
    changes: Mapping[str, Any],
    *,
    where: Mapping[str, Any],
    lazy: bool = False,
) -> int:
    """Change the rows with these primary keys that are as ``where`` says; returns how many. Otherwise as
    ``update_row``."""
    connection = cursor.db
    lazy = lazy and is_postgresql(connection) and not connection.in_atomic_block
    shape = tuple((name, len(value) if isinstance(value, tuple) else 0) for name, value in where.items())
    statement = _statement(connection.vendor, model, tuple(changes), shape, lazy, len(keys))
    params = [_prepared(connection, model, name, value) for name, value in changes.items()]
    params += [_prepared(connection, model, "pk", key) for key in keys]
    for name, value in where.items():
        several = value if isinstance(value, tuple) else (value,)
        params += [_prepared(connection, model, name, each) for each in several]
    cursor.execute(statement, params)
    return int(cursor.rowcount)


def _prepared(connection: BaseDatabaseWrapper, model: type[Model], name: str, value: Any) -> Any:
    return _field(model, name).get_db_prep_save(value, connection)


@lru_cache(maxsize=256)
def _field(model: type[Model], name: str) -> Any:
    return model._meta.pk if name == "pk" else model._meta.get_field(name)


@lru_cache(maxsize=64)
def _statement(
    vendor: str,
    model: type[Model],
    changes: tuple[str, ...],
    where: tuple[tuple[str, int], ...],
    lazy: bool,
    keys: int = 1,
) -> str:
    def quoted(name: str) -> str:
        mark = "`" if vendor == "mysql" else '"'
        return f"{mark}{name}{mark}"

    def condition(name: str, count: int) -> str:
        column = quoted(_field(model, name).column)
        return f"{column} IN ({', '.join(['%s'] * count)})" if count else f"{column} = %s"

    table = quoted(model._meta.db_table)
    columns = ", ".join(f"{quoted(_field(model, name).column)} = %s" for name in changes)
    conditions = " AND ".join(condition(name, count) for name, count in (("pk", keys if keys > 1 else 0), *where))
    return f"UPDATE {table} SET {columns} WHERE {conditions}{LAZY_COMMIT if lazy else ''}"  # noqa: S608  our own names
