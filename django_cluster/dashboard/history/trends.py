"""Rows of history → what a page draws: buckets of time, functions, queues and kinds of failures. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from django_cluster.core.histogram import add_text, numbered, quantile
from django_cluster.stores.history_reader import HistoryRow

SUCCESS = "success"
NEITHER = frozenset({"discarded", "expired"})
"""Statuses that are neither a success nor a failure."""


def is_failure(status: str) -> bool:
    """Whether runs with this status count as failed."""
    return status != SUCCESS and status not in NEITHER


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
    wait_sums: dict[str, int] = field(default_factory=dict)
    """The histogram of waiting times, as ``core.histogram.add_text`` sums it up; of a function, none."""
    run_sums: dict[str, int] = field(default_factory=dict)
    """The histogram of running times; of a queue, none."""

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
        return quantile(numbered(self.wait_sums), share)

    def run(self, share: float) -> float | None:
        """A quantile of the running times, in seconds; None if nothing has run."""
        return quantile(numbered(self.run_sums), share)

    @property
    def run_times(self) -> dict[int, int]:
        """The histogram of running times."""
        return numbered(self.run_sums)

    def add(self, row: HistoryRow) -> None:
        """Count a row, without its histograms."""
        if row.status == SUCCESS:
            self.done += row.runs
        elif is_failure(row.status):
            self.failed += row.runs
            self.dead += row.runs if row.status == "dead" else 0
        self.retried += row.retried
        self.run_seconds += row.run_seconds


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
    buckets = tuple(Summary() for _ in range(window.buckets))
    total, functions, queues = Summary(), defaultdict[str, Summary](Summary), defaultdict[str, Summary](Summary)
    for row in rows:
        bucket = buckets[(row.start - start) // window.bucket_seconds]
        func, queue = functions[row.func], queues[row.queue]
        for each in (bucket, total, func, queue):
            each.add(row)
        add_text((bucket.wait_sums, queue.wait_sums), row.wait_text)
        add_text((bucket.run_sums, func.run_sums), row.run_text)
    for bucket in buckets:
        add_sums(total.wait_sums, bucket.wait_sums)
        add_sums(total.run_sums, bucket.run_sums)
    return Trends(
        window=window,
        start=start,
        buckets=buckets,
        total=total,
        functions=tuple(sorted(functions.items(), key=lambda each: (-each[1].run_seconds, each[0]))),
        queues=dict(queues),
        failures=failure_kinds(rows, window, start),
    )


def add_sums(total: dict[str, int], more: Mapping[str, int]) -> None:
    """Add a sum of histograms to another, in place."""
    for number, count in more.items():
        total[number] = total.get(number, 0) + count


def failure_kinds(rows: Iterable[HistoryRow], window: Window, start: int) -> tuple[FailureKind, ...]:
    """Failures grouped by function and class of error."""
    groups: dict[tuple[str, str], list[HistoryRow]] = {}
    for row in rows:
        if is_failure(row.status):
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
