"""Inserts rows of a model by a statement whose text is made once. The ORM takes most of a millisecond to make it."""

# ruff: noqa: S608  what is put into the SQL here is ours: names of our tables and columns

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.models import Model

from django_cluster.core.postgres_arrays import text_array
from django_cluster.core.row_insert import RowInsert
from django_cluster.database.dialect import is_postgresql, is_sqlite


def insert_rows(cursor: CursorWrapper, rows: Sequence[Model], *, known: bool = False) -> None:
    """Insert the rows, of one model, with the primary keys that they have. No signal is sent.

    ``known``: leave out the rows whose key is in the table.
    """
    connection = cursor.db
    if is_postgresql(connection):
        cursor.execute(*insert_of(connection, rows, known=known))
        return
    values = [_values(connection, row) for row in rows]
    model = type(rows[0])
    if is_sqlite(connection):
        cursor.executemany(_statement(connection.vendor, model, 1, known), values)
    else:
        statement = _statement(connection.vendor, model, len(rows), known)
        cursor.execute(statement, [value for each in values for value in each])


def insert_of(connection: BaseDatabaseWrapper, rows: Sequence[Model], *, known: bool = False) -> RowInsert:
    """The statement that inserts the rows into a table of PostgreSQL, and its parameters."""
    model = type(rows[0])
    values = [_values(connection, row) for row in rows]
    if len(values) == 1:
        return RowInsert(_statement(connection.vendor, model, 1, known), values[0])
    columns = [text_array([_as_text(value) for value in column]) for column in zip(*values, strict=True)]
    return RowInsert(_statement_of_arrays(connection.alias, model, known), columns)


def _values(connection: BaseDatabaseWrapper, row: Model) -> list[Any]:
    return [field.get_db_prep_save(getattr(row, field.attname), connection) for field in _fields(type(row))]


def _as_text(value: Any) -> str | None:
    """A value as PostgreSQL reads it from text."""
    if value is None or isinstance(value, str):
        return value
    return value.isoformat() if isinstance(value, datetime) else str(value)


@lru_cache(maxsize=16)
def _fields(model: type[Model]) -> tuple[Any, ...]:
    return tuple(model._meta.concrete_fields)


@lru_cache(maxsize=64)
def _statement(vendor: str, model: type[Model], count: int, known: bool) -> str:
    conflict = _on_known_key(vendor, model) if known else ""
    places = f"({', '.join(['%s'] * len(_fields(model)))})"
    table, columns = _names(vendor, model)
    return f"INSERT INTO {table} ({columns}) VALUES {', '.join([places] * count)}{conflict}"


@lru_cache(maxsize=16)
def _statement_of_arrays(alias: str, model: type[Model], known: bool) -> str:
    table, columns = _names("postgresql", model)
    fields = _fields(model)
    kinds = [str(field.db_type(connections[alias])) for field in fields]
    cast = ", ".join(f'given."{field.column}"::{kind}' for field, kind in zip(fields, kinds, strict=True))
    arrays = ", ".join(["%s::text[]"] * len(fields))
    conflict = " ON CONFLICT DO NOTHING" if known else ""
    return f"INSERT INTO {table} ({columns}) SELECT {cast} FROM unnest({arrays}) AS given({columns}){conflict}"


def _on_known_key(vendor: str, model: type[Model]) -> str:
    """Leaves out a row whose key is in the table. ``INSERT IGNORE`` would also shorten values, without an error."""
    if vendor != "mysql":
        return " ON CONFLICT DO NOTHING"
    key = f"`{model._meta.pk.column}`"
    return f" ON DUPLICATE KEY UPDATE {key} = {key}"


def _names(vendor: str, model: type[Model]) -> tuple[str, str]:
    """The table, and its columns."""
    mark = "`" if vendor == "mysql" else '"'
    columns = ", ".join(f"{mark}{field.column}{mark}" for field in _fields(model))
    return f"{mark}{model._meta.db_table}{mark}", columns
