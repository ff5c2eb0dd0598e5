"""One statement that writes different values into many schedules, as each database wants to hear it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_cluster.models.schedule import Schedule

UNCLAIMED = {"claimed_until": "NULL", "last_error": "''"}
"""What every row says that was fired, or passed over, in good order."""


def write_columns(alias: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, unclaim: bool = False) -> None:
    """Write each row ``(pk, *values of the columns)``. The rows must exist, and be locked.

    ``unclaim``: also end their claims, and forget their errors.
    """
    if not rows:
        return
    connection = connections[alias]
    constants = UNCLAIMED if unclaim else {}
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            lists = [list(column) for column in zip(*rows, strict=True)]
            cursor.execute(_for_postgresql(connection, columns, constants), lists)
        elif connection.vendor == "mysql":
            values = [_adapted(connection, columns, row) for row in rows]
            statement = _for_mysql(connection, columns, constants, len(rows))
            cursor.execute(statement, [value for row in values for value in row])
        else:
            # Prepared once, and bound for each row.
            statement = _for_others(connection, columns, constants)
            cursor.executemany(statement, [(*each[1:], each[0]) for each in _all_adapted(connection, columns, rows)])


def _for_postgresql(connection: BaseDatabaseWrapper, columns: Sequence[str], constants: dict[str, str]) -> str:
    """One array for each column."""
    quote, names = connection.ops.quote_name, ("id", *columns)
    arrays = ", ".join(f"%s::{_field(name).db_type(connection).split('(')[0]}[]" for name in names)
    changes = [f"{quote(name)} = given.{quote(name)}" for name in columns]
    changes += [f"{quote(name)} = {value}" for name, value in constants.items()]
    given = ", ".join(map(quote, names))
    return (
        f"UPDATE {_table(connection)} AS kept SET {', '.join(changes)} "  # noqa: S608  our own names
        f"FROM unnest({arrays}) AS given({given}) WHERE kept.{quote('id')} = given.{quote('id')}"
    )


def _for_mysql(connection: BaseDatabaseWrapper, columns: Sequence[str], constants: dict[str, str], count: int) -> str:
    """An insert whose every row is there already: all that it can do is to update.

    Columns that may not be null have to be named all the same; what stands for them is never written.
    """
    quote, names = connection.ops.quote_name, ("id", *columns)
    required = (field for field in Schedule._meta.concrete_fields if not field.null and field.name not in names)
    fillers = {field.name: "''" if field.empty_strings_allowed else "0" for field in required}
    places = ", ".join([*["%s"] * len(names), *fillers.values()])
    changes = [f"{quote(name)} = VALUES({quote(name)})" for name in columns]
    changes += [f"{quote(name)} = {value}" for name, value in constants.items()]
    return (
        f"INSERT INTO {_table(connection)} ({', '.join(map(quote, (*names, *fillers)))}) "  # noqa: S608  our own names
        f"VALUES {', '.join([f'({places})'] * count)} ON DUPLICATE KEY UPDATE {', '.join(changes)}"
    )


def _for_others(connection: BaseDatabaseWrapper, columns: Sequence[str], constants: dict[str, str]) -> str:
    quote = connection.ops.quote_name
    changes = [f"{quote(name)} = %s" for name in columns]
    changes += [f"{quote(name)} = {value}" for name, value in constants.items()]
    return f"UPDATE {_table(connection)} SET {', '.join(changes)} WHERE {quote('id')} = %s"  # noqa: S608  our own names


def _all_adapted(
    connection: BaseDatabaseWrapper, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> list[list[Any]]:
    return [_adapted(connection, columns, row) for row in rows]


def _adapted(connection: BaseDatabaseWrapper, columns: Sequence[str], row: Sequence[Any]) -> list[Any]:
    fields = [_field(name) for name in columns]
    return [row[0], *(field.get_db_prep_save(each, connection) for field, each in zip(fields, row[1:], strict=True))]


def _field(name: str) -> Any:
    return Schedule._meta.get_field(name)


def _table(connection: BaseDatabaseWrapper) -> str:
    return connection.ops.quote_name(Schedule._meta.db_table)
