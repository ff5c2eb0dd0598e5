"""Rows of history → what a page draws: buckets of time, functions, queues and kinds of failures. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from django_cluster.core.histogram import add_to, quantile
from django_cluster.stores.history_reader import HistoryRow

SUCCESS = "success"
NEITHER = frozenset({"discarded", "expired"})
"""Statuses that are neither a success nor a failure."""

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time in buckets of one size."""

    name: str
    """Its name in an address: ``1h``, ``24h``, ``14d``."""
    bucket_seconds: int
    buckets: int

    def start(self, now: float) -> int:
        """Unix time of the beginning of the first bucket; the last one holds ``now``."""
        return (int(now) // self.bucket_seconds - self.buckets + 1) * self.bucket_seconds

    @property
    def seconds(self) -> int:
        """The length of the span."""
        return self.bucket_seconds * self.buckets


WINDOWS = (Window("1h", 60, 60), Window("24h", 3600, 24), Window("14d", 21_600, 56))


@dataclass(slots=True)
class Summary:
    """What ended in a bucket, or of a function, or in a queue."""

    done: int = 0
    failed: int = 0
    """Runs that failed, whether they are retried or not."""
    retried: int = 0
    dead: int = 0
    run_seconds: float = 0.0
    waits: dict[int, int] = field(default_factory=dict)
    run_times: dict[int, int] = field(default_factory=dict)

    @property
    def runs(self) -> int:
        """Runs that ended well or badly."""
        return self.done + self.failed

    @property
    def failure_share(self) -> float:
        """From 0 to 1."""
        return self.failed / self.runs if self.runs else 0.0

    def wait(self, share: float) -> float | None:
        """A quantile of the waiting times, in seconds; None if nothing has started."""
        return quantile(self.waits, share)

    def run(self, share: float) -> float | None:
        """A quantile of the running times, in seconds; None if nothing has run."""
        return quantile(self.run_times, share)

    def add(self, row: HistoryRow) -> None:
        """Count a row."""
        if row.status == SUCCESS:
            self.done += row.runs
        elif row.status not in NEITHER:
            self.failed += row.runs
            self.dead += row.runs if row.status == "dead" else 0
        self.retried += row.retried
        self.run_seconds += row.run_seconds
        add_to(self.waits, row.waits)
        add_to(self.run_times, row.run_times)


@dataclass(frozen=True, slots=True)
class FailureKind:
    """Failures of one function with one class of error."""

    func: str
    error_kind: str
    count: int
    first_seen: int
    """Start of the first bucket of the window in which it was seen."""
    last_seen: float
    last_error: str
    last_task: str
    per_bucket: tuple[int, ...]
    is_new: bool
    """Whether it was not seen in the first half of the window, and others were."""


@dataclass(frozen=True, slots=True)
class Trends:
    """Everything that a page draws of one window."""

    window: Window
    start: int
    buckets: tuple[Summary, ...]
    total: Summary
    functions: tuple[tuple[str, Summary], ...]
    """By the time that their runs have taken, the costliest first."""
    queues: dict[str, Summary]
    failures: tuple[FailureKind, ...]
    """The most frequent ones first."""

    def bucket_start(self, number: int) -> int:
        """Unix time of the beginning of a bucket."""
        return self.start + number * self.window.bucket_seconds


def trends(rows: Sequence[HistoryRow], window: Window, now: float) -> Trends:
    """Summarize the rows of a window that ends now; rows of other times are left out."""
    start = window.start(now)
    rows = [row for row in rows if start <= row.start < start + window.seconds]

    def bucket(row: HistoryRow) -> int:
        return (row.start - start) // window.bucket_seconds

    by_bucket = summaries(rows, bucket)
    functions = summaries(rows, lambda row: row.func)
    total = summaries(rows, lambda _: "").get("", Summary())
    return Trends(
        window=window,
        start=start,
        buckets=tuple(by_bucket.get(number, Summary()) for number in range(window.buckets)),
        total=total,
        functions=tuple(sorted(functions.items(), key=lambda each: (-each[1].run_seconds, each[0]))),
        queues=summaries(rows, lambda row: row.queue),
        failures=failure_kinds(rows, window, start),
    )


def summaries(rows: Iterable[HistoryRow], key: Callable[[HistoryRow], Key]) -> dict[Key, Summary]:
    """One summary for each key."""
    found: dict[Key, Summary] = {}
    for row in rows:
        found.setdefault(key(row), Summary()).add(row)
    return found


def failure_kinds(rows: Iterable[HistoryRow], window: Window, start: int) -> tuple[FailureKind, ...]:
    """Failures grouped by function and class of error."""
    groups: dict[tuple[str, str], list[HistoryRow]] = {}
    for row in rows:
        if row.status != SUCCESS and row.status not in NEITHER:
            groups.setdefault((row.func, row.error_kind), []).append(row)
    found = [_failure_kind(group, window, start) for group in groups.values()]
    return tuple(sorted(found, key=lambda each: (-each.count, each.func, each.error_kind)))


def _failure_kind(rows: Sequence[HistoryRow], window: Window, start: int) -> FailureKind:
    counts = [0] * window.buckets
    for row in rows:
        counts[(row.start - start) // window.bucket_seconds] += row.runs
    last = max(rows, key=lambda row: row.last_at)
    first = next(number for number, count in enumerate(counts) if count)
    return FailureKind(
        func=last.func,
        error_kind=last.error_kind,
        count=sum(counts),
        first_seen=start + first * window.bucket_seconds,
        last_seen=last.last_at or max(row.start for row in rows),
        last_error=last.last_error,
        last_task=last.last_task,
        per_bucket=tuple(counts),
        is_new=first >= window.buckets // 2,
    )
