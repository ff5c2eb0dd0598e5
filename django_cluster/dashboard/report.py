"""The snapshot as plain text, for pipes and logs (``qmonitor --once``)."""

from __future__ import annotations

from collections.abc import Sequence

from django_cluster.dashboard import tables
from django_cluster.dashboard.panels import clusters, failures, queues
from django_cluster.dashboard.snapshot import Snapshot
from django_cluster.dashboard.tables import Table
from django_cluster.dashboard.text import Line, clean, line, plain

FAILURES = 5


def lines(snapshot: Snapshot, width: int = 120, *, ascii_only: bool = True) -> list[Line]:
    """Clusters, queues, the newest failures and problems, as lines."""
    drawn = _table(clusters.table(snapshot, ascii_only), width)
    drawn += [line(), *_table(queues.table(snapshot), width)]
    if snapshot.failures:
        table = failures.table(snapshot)
        drawn += [line(), *_table(Table(table.columns, table.rows[:FAILURES], table.empty), width)]
    if snapshot.problems:
        drawn += [line(), *(line(f"Problem: {problem}") for problem in snapshot.problems)]
    return drawn


def _table(table: Table, width: int) -> list[Line]:
    return [tables.header(table, width), *(tables.body(table, table.rows, width) or [line(table.empty)])]


def as_text(drawn: Sequence[Line]) -> str:
    """Lines without styles and control characters, which names and errors may contain."""
    return "\n".join(clean(plain(each)).rstrip() for each in drawn)
