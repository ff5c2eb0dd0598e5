"""Columns of values as PostgreSQL's array literals.

A driver goes through an array element by element; here nearly all of a column is one ``join``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

NULL = "NULL"


def text_array(values: Sequence[str | None]) -> str:
    """``text[]`` and whatever can be cast from it."""
    try:
        inside = '","'.join(values)  # type: ignore[arg-type]  # None is rare, and says so itself
    except TypeError:
        return _with_nulls(values, _quoted)
    if "\\" in inside or inside.count('"') != 2 * (len(values) - 1):
        return _with_nulls(values, _quoted)
    return f'{{"{inside}"}}' if values else "{}"


def bytes_array(values: Sequence[bytes | None]) -> str:
    """``bytea[]``: the digits of each value."""
    return _with_nulls(values, lambda value: f'"\\\\x{value.hex()}"')


def number_array(values: Sequence[float]) -> str:
    """``int[]``, ``bigint[]``, ``float8[]``."""
    return f"{{{','.join(map(repr, values))}}}"


def truth_array(values: Sequence[bool]) -> str:
    """``bool[]``."""
    return f"{{{','.join('t' if value else 'f' for value in values)}}}"


def _with_nulls(values: Sequence[Any], write: Callable[[Any], str]) -> str:
    return f"{{{','.join([NULL if value is None else write(value) for value in values])}}}"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


WRITERS: Mapping[str, Callable[[Sequence[Any]], str]] = {
    "text[]": text_array,
    "bytea[]": bytes_array,
    "float8[]": number_array,
    "smallint[]": number_array,
    "int[]": number_array,
    "bigint[]": number_array,
    "bool[]": truth_array,
}


def array(kind: str, values: Sequence[Any]) -> str:
    """The literal of an array of this kind."""
    return WRITERS[kind](values)


# ── the same in PostgreSQL's binary format, where bytes need not be made digits ──────────────────

BYTEA = 17
"""PostgreSQL's number for the type of the elements …"""
BYTEA_ARRAY = 1001
"""… and for that of the array."""

_HEAD = struct.Struct("!iiIii")  # dimensions, may it hold NULLs, type, length, number of the first element
_LENGTH = struct.Struct("!i")
_NULL = _LENGTH.pack(-1)


def packed_bytes_array(values: Sequence[bytes | None]) -> bytes:
    """``bytea[]`` of at least one value."""
    parts = [_HEAD.pack(1, 1, BYTEA, len(values), 1)]
    for value in values:
        parts += (_NULL,) if value is None else (_LENGTH.pack(len(value)), value)
    return b"".join(parts)
