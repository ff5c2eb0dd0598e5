"""Tables as values: filter, sort, and fit to the width of a screen."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from django_cluster.dashboard.text import Line, Span, clean, fit

FLEXIBLE = 0


@dataclass(frozen=True, slots=True)
class Column:
    title: str
    width: int = FLEXIBLE
    """Width in characters; flexible columns share the remaining width."""
    right: bool = False
    least: int = 0
    """Smallest width of a screen on which the column is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    key: str
    """``kind:name``; identifies the object that is shown."""
    cells: tuple[str, ...]
    order: tuple[Any, ...] = ()
    """Sort keys, one for each column; empty: the cells."""
    style: str = ""
    styles: Mapping[int, str] = field(default_factory=dict)
    """Index of a column → style of that cell."""
    more: Mapping[str, str] = field(default_factory=dict)
    """Further fields for the filter, e.g. ``group:orders``."""

    @property
    def kind(self) -> str:
        return self.key.partition(":")[0]

    @property
    def name(self) -> str:
        """The part of the key after the kind."""
        return self.key.partition(":")[2]


@dataclass(frozen=True, slots=True)
class Table:
    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]
    empty: str = "Nothing to show."
    """Text if there are no rows."""


def chosen(table: Table, query: str, sort: int | None, *, descending: bool) -> list[TableRow]:
    """The rows that match the query, sorted by a column (None: unsorted)."""
    rows = [row for row in table.rows if matches(table, row, query)]
    if sort is not None and sort < len(table.columns):
        rows.sort(key=lambda row: _order(row, sort), reverse=descending)
    return rows


def _order(row: TableRow, column: int) -> tuple[bool, Any]:
    value = row.order[column] if column < len(row.order) else row.cells[column].lower()
    return value is not None, value if value is not None else 0


def matches(table: Table, row: TableRow, query: str) -> bool:
    """Whether every word of the query is found in the row; ``column:text`` looks in one column, ``*`` is anything."""
    fields = {column.title.lower(): cell for column, cell in zip(table.columns, row.cells, strict=True)}
    fields.update(row.more)
    return all(_found(word.lower(), fields) for word in query.split())


def _found(word: str, fields: Mapping[str, str]) -> bool:
    name, colon, text = word.partition(":")
    where = [value for title, value in fields.items() if title.startswith(name)] if colon and name else []
    if not where:
        text, where = word, list(fields.values())
    pattern = f"*{text}*" if not re.search(r"[*?]", text) else text
    return any(fnmatchcase(value.strip().lower(), pattern) for value in where)


def widths(columns: Sequence[Column], width: int) -> dict[int, int]:
    """The places of the columns that are shown, and their sizes; the flexible ones share what the others leave."""
    shown = [place for place, column in enumerate(columns) if column.least <= width]
    left = max(0, width - sum(columns[place].width for place in shown) - len(shown) + 1)
    flexible = [place for place in shown if columns[place].width == FLEXIBLE]
    sizes = {place: columns[place].width for place in shown}
    for count, place in zip(range(len(flexible), 0, -1), flexible, strict=True):
        sizes[place] = -(-left // count)
        left -= sizes[place]
    return sizes


def header(table: Table, width: int, sort: int | None = None, *, descending: bool = False) -> Line:
    spans = []
    for place, size in widths(table.columns, width).items():
        column = table.columns[place]
        title = column.title + ("" if place != sort else "-" if descending else "+")
        spans += [Span(fit(title, size, right=column.right), "head"), Span(" ", "head")]
    return tuple(spans[:-1])


def body(table: Table, rows: Sequence[TableRow], width: int, selected: str = "") -> list[Line]:
    sizes = widths(table.columns, width)
    return [_row(table, row, sizes, selected=row.key == selected) for row in rows]


def _row(table: Table, row: TableRow, sizes: Mapping[int, int], *, selected: bool) -> Line:
    spans: list[Span] = []
    for place, size in sizes.items():
        style = "selected" if selected else row.styles.get(place, row.style)
        text = fit(clean(row.cells[place]), size, right=table.columns[place].right)
        spans += [Span(text, style), Span(" ", "selected" if selected else "")]
    return tuple(spans[:-1])
