"""What a row of history holds, and the statement that writes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple

from django_cluster.core.histogram import add_to, from_text, to_text
from django_cluster.core.safe_text import storable
from django_cluster.database.upsert import UpsertTable
from django_cluster.models import Rollup

COLUMNS = (
    *("id", "cluster", "step", "start", "queue", "func", "status", "error_kind"),
    *("runs", "retried", "waits", "wait_seconds", "run_seconds", "wait_bins", "run_bins"),
    *("last_error", "last_task", "last_at", "counted"),
)

HISTORY_ROWS = UpsertTable(
    name=Rollup._meta.db_table,
    key="id",
    columns=COLUMNS,
    constants={},
    condition="{kept[runs]} <= {given[runs]}",
    condition_columns=("runs",),
    arrays={
        "step": "int[]",
        "start": "bigint[]",
        "runs": "bigint[]",
        "retried": "bigint[]",
        "waits": "bigint[]",
        "wait_seconds": "float8[]",
        "run_seconds": "float8[]",
        "last_at": "float8[]",
    },
    conversions={},
)
"""A row is replaced as a whole: its writer knows everything that it counts."""


class RollupKey(NamedTuple):
    """What one row counts. ``step`` and ``start``: the interval, in seconds and as Unix time."""

    cluster: str
    step: int
    start: int
    queue: str
    func: str
    status: str
    error_kind: str

    @property
    def id(self) -> str:
        """The primary key of the row."""
        return blake2b("\0".join(map(str, self)).encode("utf-8", "replace"), digest_size=16).hexdigest()


@dataclass(slots=True)
class RollupCounts:
    """The counts of one row."""

    runs: int = 0
    retried: int = 0
    waits: int = 0
    wait_seconds: float = 0.0
    run_seconds: float = 0.0
    wait_bins: dict[int, int] = field(default_factory=dict)
    run_bins: dict[int, int] = field(default_factory=dict)
    last_error: str = ""
    last_task: str = ""
    last_at: float = 0.0
    counted: str = ""

    def copy(self) -> RollupCounts:
        """A copy that shares no histogram with this one."""
        return RollupCounts(
            self.runs, self.retried, self.waits, self.wait_seconds, self.run_seconds,
            dict(self.wait_bins), dict(self.run_bins), self.last_error, self.last_task, self.last_at, self.counted,
        )  # fmt: skip

    def merge(self, other: RollupCounts) -> None:
        """Add what ``other`` counts. The later error of the two is kept."""
        self.runs += other.runs
        self.retried += other.retried
        self.waits += other.waits
        self.wait_seconds += other.wait_seconds
        self.run_seconds += other.run_seconds
        add_to(self.wait_bins, other.wait_bins)
        add_to(self.run_bins, other.run_bins)
        if other.last_at >= self.last_at:
            self.last_at, self.last_error, self.last_task = other.last_at, other.last_error, other.last_task

    def values(self, key: RollupKey) -> tuple[Any, ...]:
        """The values of ``COLUMNS``."""
        return (
            key.id, *key, self.runs, self.retried, self.waits, self.wait_seconds, self.run_seconds,
            to_text(self.wait_bins), to_text(self.run_bins), self.last_error, self.last_task, self.last_at,
            self.counted,
        )  # fmt: skip


def counts_of(row: Rollup) -> RollupCounts:
    """The counts of a row that was read."""
    return RollupCounts(
        row.runs, row.retried, row.waits, row.wait_seconds, row.run_seconds,
        from_text(row.wait_bins), from_text(row.run_bins), row.last_error, row.last_task, row.last_at, row.counted,
    )  # fmt: skip


def key_of(row: Rollup) -> RollupKey:
    """What a row that was read counts."""
    return RollupKey(row.cluster, row.step, row.start, row.queue, row.func, row.status, row.error_kind)


def cleaned(start: int, queue: str, func: str, status: str, error_kind: str) -> tuple[int, str, str, str, str]:
    """The parts of a key, whose texts every database takes and that fit into their columns."""
    return (start, storable(queue, 100) or "", storable(func, 256) or "", status, storable(error_kind, 255) or "")
