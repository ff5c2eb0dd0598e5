"""An INSERT as a value: one module writes it, another sends it as a part of its own statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from django_cluster.core.reprs import repr_of


class RowInsert(NamedTuple):
    """An INSERT that can stand in the WITH clause of another statement (PostgreSQL)."""

    statement: str
    params: Sequence[Any]

    def __repr__(self) -> str:
        return repr_of(self, "statement")
