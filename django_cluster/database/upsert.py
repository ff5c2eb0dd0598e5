"""Upserts of many rows in one statement, in the SQL of each database.

A row is inserted; where its key exists, it is updated if a condition holds for the row that is kept and the one that is
given. One statement decides, so that no row has to be read or locked first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from django_cluster.database import array_parameters
from django_cluster.database.dialect import by_vendor

Quote = Callable[[str], str]
Row = Sequence[Any]


@dataclass(frozen=True, eq=False)
class UpsertTable:
    """A table, and when its rows may be updated."""

    name: str
    key: str
    columns: tuple[str, ...]
    """All columns; an update writes them all, but for the key."""
    constants: Mapping[str, str]
    """The SQL of columns that a statement does not give, because they are the same in all its rows."""
    condition: str
    """SQL with ``{kept[column]}`` and ``{given[column]}``: whether a row that exists is updated."""
    condition_columns: tuple[str, ...]
    """The columns of the condition, those that it reads first at the end."""
    arrays: Mapping[str, str]
    """PostgreSQL's type of the array that carries a column, unless it is ``text[]``."""
    conversions: Mapping[str, str]
    """SQL for PostgreSQL that makes the value of a column from that of its array, ``{}``."""

    def write(self, connection: BaseDatabaseWrapper, columns: tuple[str, ...], rows: Sequence[Row]) -> None:
        """Upsert the rows, in which each key may occur once. ``columns``: what they give, in this order.

        Raises ``ImproperlyConfigured`` for a kind of database that is not known.
        """
        write = by_vendor(connection, WRITERS)
        if write is None:
            raise ImproperlyConfigured(f"Results cannot be kept in a database of the kind {connection.vendor!r}.")
        with connection.cursor() as cursor:
            write(cursor, self, connection.ops.quote_name, columns, rows)


Write = Callable[[CursorWrapper, UpsertTable, Quote, tuple[str, ...], Sequence[Row]], None]


# ── SQLite: one short statement, prepared once and bound for each row ────────────────────────────


def _write_to_sqlite(
    cursor: CursorWrapper, table: UpsertTable, quote: Quote, columns: tuple[str, ...], rows: Sequence[Row]
) -> None:
    cursor.executemany(_statement_for_sqlite(table, quote, columns), rows)


@lru_cache(maxsize=8)
def _statement_for_sqlite(table: UpsertTable, quote: Quote, columns: tuple[str, ...]) -> str:
    return f"{_insert(table, quote, columns)} VALUES {_placeholders(table, columns)} {_on_conflict(table, quote)}"


# ── PostgreSQL: one array for each column ────────────────────────────────────────────────────────


def _write_to_postgresql(
    cursor: CursorWrapper, table: UpsertTable, quote: Quote, columns: tuple[str, ...], rows: Sequence[Row]
) -> None:
    kinds = [table.arrays.get(name, "text[]") for name in columns]
    array_parameters.execute(cursor, _statement_for_postgresql(table, quote, columns), kinds, rows)


@lru_cache(maxsize=8)
def _statement_for_postgresql(table: UpsertTable, quote: Quote, columns: tuple[str, ...]) -> str:
    arrays = ", ".join(f"%s::{table.arrays.get(name, 'text[]')}" for name in columns)
    given = (table.conversions.get(name, "{}").format(f"given.{quote(name)}") for name in columns)
    values = ", ".join((*given, *_constants(table, columns).values()))
    names = ", ".join(quote(name) for name in columns)
    return (
        f"{_insert(table, quote, columns)} SELECT {values} "  # noqa: S608  our own names
        f"FROM unnest({arrays}) AS given({names}) {_on_conflict(table, quote)}"
    )


# ── MariaDB and MySQL: all rows in one statement ─────────────────────────────────────────────────


def _write_to_mysql(
    cursor: CursorWrapper, table: UpsertTable, quote: Quote, columns: tuple[str, ...], rows: Sequence[Row]
) -> None:
    statement = _statement_for_mysql(table, quote, columns, len(rows))
    cursor.execute(statement, [value for row in rows for value in row])


@lru_cache(maxsize=32)
def _statement_for_mysql(table: UpsertTable, quote: Quote, columns: tuple[str, ...], count: int) -> str:
    rows = ", ".join([_placeholders(table, columns)] * count)
    return f"{_insert(table, quote, columns)} VALUES {rows} {_on_duplicate_key(table, quote)}"


WRITERS: Mapping[str, Write] = {
    "sqlite": _write_to_sqlite,
    "postgresql": _write_to_postgresql,
    "mysql": _write_to_mysql,
}


# ── parts of statements ──────────────────────────────────────────────────────────────────────────


def _insert(table: UpsertTable, quote: Quote, columns: tuple[str, ...]) -> str:
    names = ", ".join(quote(name) for name in (*columns, *_constants(table, columns)))
    return f"INSERT INTO {quote(table.name)} ({names})"


def _placeholders(table: UpsertTable, columns: tuple[str, ...]) -> str:
    return f"({', '.join(['%s'] * len(columns) + list(_constants(table, columns).values()))})"


def _constants(table: UpsertTable, columns: tuple[str, ...]) -> Mapping[str, str]:
    return {name: constant for name, constant in table.constants.items() if name not in columns}


def _condition(table: UpsertTable, quote: Quote, given: Callable[[str], str]) -> str:
    names = table.condition_columns
    return table.condition.format(
        kept={name: f"{quote(table.name)}.{quote(name)}" for name in names},
        given={name: given(quote(name)) for name in names},
    )


def _on_conflict(table: UpsertTable, quote: Quote) -> str:
    changes = ", ".join(f"{quote(name)} = excluded.{quote(name)}" for name in table.columns if name != table.key)
    condition = _condition(table, quote, "excluded.{}".format)
    return f"ON CONFLICT ({quote(table.key)}) DO UPDATE SET {changes} WHERE {condition}"


def _on_duplicate_key(table: UpsertTable, quote: Quote) -> str:
    """Assignments are made from left to right and see each other, so the columns of the condition come last."""
    condition = _condition(table, quote, "VALUES({})".format)
    others = [name for name in table.columns if name != table.key and name not in table.condition_columns]
    changes = (
        f"{quote(name)} = IF({condition}, VALUES({quote(name)}), {quote(table.name)}.{quote(name)})"
        for name in (*others, *table.condition_columns)
    )
    return f"ON DUPLICATE KEY UPDATE {', '.join(changes)}"
