"""Updates many rows with different values in one statement, in the SQL of each database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from django_cluster.database.dialect import is_mysql, is_postgresql

NO_CONSTANTS: Mapping[str, str] = {}


def update_rows(
    alias: str,
    model: type[Model],
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    constants: Mapping[str, str] = NO_CONSTANTS,
) -> None:
    """Write each row ``(id, *values of the columns)``. The rows must exist, and be locked.

    ``constants``: further columns and the SQL that all rows get.
    """
    if not rows:
        return
    connection = connections[alias]
    statement = UpdateStatement(connection, model, columns, constants)
    with connection.cursor() as cursor:
        if is_postgresql(connection):
            cursor.execute(statement.for_postgresql(), [list(column) for column in zip(*rows, strict=True)])
        elif is_mysql(connection):
            values = [value for row in rows for value in statement.prepared(row)]
            cursor.execute(statement.for_mysql(len(rows)), values)
        else:
            # Prepared once, and bound for each row.
            prepared = map(statement.prepared, rows)
            cursor.executemany(statement.for_others(), [(*row[1:], row[0]) for row in prepared])


class UpdateStatement:
    """The statement of ``update_rows``, and its values."""

    def __init__(
        self, connection: BaseDatabaseWrapper, model: type[Model], columns: Sequence[str], constants: Mapping[str, str]
    ) -> None:
        self._connection, self._meta = connection, model._meta
        self._columns = columns
        quote = self._quote = connection.ops.quote_name
        self._table = quote(model._meta.db_table)
        self._constants = [f"{quote(name)} = {value}" for name, value in constants.items()]

    def prepared(self, row: Sequence[Any]) -> list[Any]:
        """The values of a row as the driver takes them."""
        fields = map(self._field, self._columns)
        pairs = zip(fields, row[1:], strict=True)
        return [row[0], *(field.get_db_prep_save(value, self._connection) for field, value in pairs)]

    def for_postgresql(self) -> str:
        """One array for each column."""
        quote, names = self._quote, ("id", *self._columns)
        arrays = ", ".join(f"%s::{self._field(name).db_type(self._connection).split('(')[0]}[]" for name in names)
        changes = [*(f"{quote(name)} = given.{quote(name)}" for name in self._columns), *self._constants]
        given = ", ".join(map(quote, names))
        return (
            f"UPDATE {self._table} AS kept SET {', '.join(changes)} "  # noqa: S608  our own names
            f"FROM unnest({arrays}) AS given({given}) WHERE kept.{quote('id')} = given.{quote('id')}"
        )

    def for_mysql(self, count: int) -> str:
        """An insert whose every row exists already: all that it can do is to update.

        Columns that may not be null have to be named all the same; the values that stand for them are never written.
        """
        quote, names = self._quote, ("id", *self._columns)
        required = (field for field in self._meta.concrete_fields if not field.null and field.name not in names)
        fillers = {field.name: "''" if field.empty_strings_allowed else "0" for field in required}
        places = ", ".join([*["%s"] * len(names), *fillers.values()])
        changes = [*(f"{quote(name)} = VALUES({quote(name)})" for name in self._columns), *self._constants]
        return (
            f"INSERT INTO {self._table} ({', '.join(map(quote, (*names, *fillers)))}) "  # noqa: S608  our own names
            f"VALUES {', '.join([f'({places})'] * count)} ON DUPLICATE KEY UPDATE {', '.join(changes)}"
        )

    def for_others(self) -> str:
        quote = self._quote
        changes = [*(f"{quote(name)} = %s" for name in self._columns), *self._constants]
        return f"UPDATE {self._table} SET {', '.join(changes)} WHERE {quote('id')} = %s"  # noqa: S608  our own names

    def _field(self, name: str) -> Any:
        return self._meta.get_field(name)
