"""How rows reach PostgreSQL in bulk: as one array for each column.

That is half the cost of the same values row by row. Large values do not go into the text of the statement, as all
parameters do with Django's cursor: written as digits they would be twice as long, and the server's parser would read
every one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

from django.db.backends.utils import CursorWrapper

from django_cluster.core.batching import batches
from django_cluster.core.postgres_arrays import BYTEA_ARRAY, array, packed_bytes_array

Row = Sequence[Any]

HEAVY = 1 << 15
"""Bytes of binary values in a statement, from which on they travel beside it."""

LARGEST_STATEMENT = 1 << 26
"""Bytes of binary values in a statement of several rows: neither end has to hold a whole batch of large results."""
LARGEST_ROW = (1 << 30) - (1 << 20)
"""Bytes of binary values in a row. A message to the server, and an array in it, stay below 1 GiB, or the server hangs
up; as text, values are twice as long."""


def execute(cursor: CursorWrapper, statement: str, kinds: Sequence[str], rows: Sequence[Row]) -> None:
    """``statement`` has one ``%s`` for each column, whose arrays are of these kinds (``text[]``, ``bytea[]``, …).

    It is executed several times where the rows are too large for one statement.
    Raises ``ValueError`` for a row that is larger than PostgreSQL takes.
    """
    values = list(zip(*rows, strict=True))
    raw: Any = cursor.db.connection
    beside = hasattr(raw, "pgconn")  # psycopg 2 knows only the other way
    weight = _weight(kinds, values)
    if weight > LARGEST_STATEMENT and len(rows) > 1:
        for portion in batches(rows, partial(_weight_of, kinds), most=len(rows), room=LARGEST_STATEMENT):
            execute(cursor, statement, kinds, portion)
        return
    if weight > (LARGEST_ROW if beside else LARGEST_ROW // 2):
        raise ValueError(f"{weight} bytes are more than PostgreSQL takes in one row.")
    if beside and weight > HEAVY:
        _execute_beside(cursor, statement, kinds, values)
    else:
        cursor.execute(statement, [array(kind, each) for kind, each in zip(kinds, values, strict=True)])


def _weight(kinds: Sequence[str], values: Sequence[Sequence[Any]]) -> int:
    binary = (each for kind, each in zip(kinds, values, strict=True) if kind == "bytea[]")
    return sum(len(value) for each in binary for value in each if value is not None)


def _weight_of(kinds: Sequence[str], row: Row) -> int:
    return _weight(kinds, [[value] for value in row])


def _execute_beside(cursor: CursorWrapper, statement: str, kinds: Sequence[str], values: Sequence[Any]) -> None:
    """Execute on a cursor of psycopg itself, with parameters that are sent apart from the statement."""
    import psycopg

    kept, dumper = _packing()
    parameters = [
        kept(packed_bytes_array(each)) if kind == "bytea[]" else array(kind, each)
        for kind, each in zip(kinds, values, strict=True)
    ]
    with cursor.db.wrap_database_errors, psycopg.Cursor(cursor.db.connection) as plain:
        plain.adapters.register_dumper(kept, dumper)
        plain.execute(statement, parameters, prepare=False)


@cache
def _packing() -> tuple[type[Any], type[Any]]:
    """A class for values that are packed already, and psycopg's dumper for it. Imported when first needed."""
    from psycopg.adapt import Dumper
    from psycopg.pq import Format

    class Packed:
        def __init__(self, data: bytes) -> None:
            self.data = data

    class PackedDumper(Dumper):
        format = Format.BINARY
        oid = BYTEA_ARRAY

        def dump(self, obj: Packed) -> bytes:
            return obj.data

    return Packed, PackedDumper
