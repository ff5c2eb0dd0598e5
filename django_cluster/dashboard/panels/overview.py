"""The tab *Overview*: throughput and latency of the last minutes, queues, the newest failures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from django_cluster.dashboard import tables
from django_cluster.dashboard.charts import area
from django_cluster.dashboard.panels import clusters, failures, queues
from django_cluster.dashboard.snapshot import Snapshot
from django_cluster.dashboard.state_labels import total
from django_cluster.dashboard.text import Line, Span, amount, cells, clip, duration, fit, line, side_by_side
from django_cluster.stores.status import ThroughputSlice

Unit = Callable[[float], str]

STEP, COUNT = 5, 60
"""Seconds of a slice, and number of slices of a chart (five minutes)."""
MINUTE = 60 // STEP


@dataclass(frozen=True, slots=True)
class Past:
    """Metrics of all clusters in the last minutes, oldest slice first."""

    slices: tuple[ThroughputSlice, ...]

    def rates(self, name: str) -> list[float]:
        """A counter of each slice, per second."""
        return [getattr(each, name) / STEP for each in self.slices]

    def seconds(self, name: str) -> list[float]:
        return [getattr(each, name) for each in self.slices]

    def rate(self, name: str) -> float:
        """Rate of a counter per second, over the last minute."""
        return sum(self.rates(name)[-MINUTE:]) / MINUTE

    def duration(self, name: str) -> float:
        """A duration over the last minute: maximum of high values, mean of medians of slices with finished tasks."""
        lately = [each for each in self.slices[-MINUTE:] if each.done + each.failed]
        values = [float(getattr(each, name)) for each in lately] or [0.0]
        return float(max(values)) if name.endswith("high") else fmean(values)


def past_of(snapshot: Snapshot) -> Past:
    """The merged slices of all clusters, without the current one, which is incomplete."""
    last = int(snapshot.taken_at) // STEP
    merged: dict[int, list[ThroughputSlice]] = {number: [] for number in range(last - COUNT, last)}
    for cluster in snapshot.alive:
        for each in cluster.throughput.slices:
            if each.number in merged:
                merged[each.number].append(each)
    return Past(tuple(_merged(number, slices) for number, slices in merged.items()))


def _merged(number: int, slices: Sequence[ThroughputSlice]) -> ThroughputSlice:
    """Merge slices of several clusters: sum of counters, maximum of high values, weighted mean of medians."""
    if len(slices) == 1:
        return slices[0]
    weight = sum(each.done + each.failed for each in slices) or 1

    def mean(name: str) -> float:
        return sum(float(getattr(each, name)) * (each.done + each.failed) for each in slices) / weight

    return ThroughputSlice(
        number=number,
        done=sum(each.done for each in slices),
        failed=sum(each.failed for each in slices),
        wait_median=mean("wait_median"),
        wait_high=max((each.wait_high for each in slices), default=0.0),
        run_median=mean("run_median"),
        run_high=max((each.run_high for each in slices), default=0.0),
    )


def lines(snapshot: Snapshot, width: int, height: int, *, ascii_only: bool = False) -> list[Line]:
    """The body of the tab, cut to ``height`` lines."""
    past = past_of(snapshot)
    drawn = [*_figures(snapshot, past), line()]
    chart_height = max(3, min(10, (height - 11) // 2))
    drawn += _charts(past, width, chart_height, ascii_only)
    if not snapshot.clusters:
        drawn += [line(), line(Span(clusters.NO_CLUSTER_TEXT, "warn"))]
    left = height - len(drawn)
    queue_rows = min(len(snapshot.queues), max(1, left // 2 - 2))
    drawn += [line(), *_table(queues.table(snapshot), width, queue_rows)]
    failure_rows = height - len(drawn) - 2
    if failure_rows > 0:
        drawn += [line(), *_table(failures.table(snapshot), width, failure_rows)]
    return [clip(each, width) for each in drawn[:height]]


def _figures(snapshot: Snapshot, past: Past) -> list[Line]:
    workers = [worker for _, worker in snapshot.workers()]
    busy = sum(1 for worker in workers if worker.task)
    known = [queue for queue in snapshot.queues if not queue.problem]
    away = len(snapshot.queues) - len(known)
    ready = sum(queue.ready for queue in known)
    failed = past.rate("failed")
    first = [
        ("clusters", str(len(snapshot.alive)), "good" if snapshot.alive else "bad"),
        ("workers", f"{len(workers)} ({busy} busy)", ""),
        ("ready", total([queue.ready for queue in known], unknown=away), "warn" if ready and not workers else ""),
        ("delayed", total([queue.delayed for queue in known], unknown=away), ""),
        ("done", f"{amount(past.rate('done'))}/s", ""),
        ("failed", f"{amount(failed)}/s", "bad" if failed else ""),
    ]
    second = [
        ("waited", duration(past.duration("wait_median")), ""),
        ("95%", duration(past.duration("wait_high")), ""),
        ("ran", duration(past.duration("run_median")), ""),
        ("95%", duration(past.duration("run_high")), ""),
    ]
    return [_pairs(first), _pairs(second, "over the last minute")]


def _pairs(pairs: Sequence[tuple[str, str, str]], after: str = "") -> Line:
    spans: list[Span] = []
    for title, value, style in pairs:
        spans += [Span(f"{title} ", "dim"), Span(value, style or "title"), Span("  ")]
    return (*spans, Span(after, "dim"))


def _charts(past: Past, width: int, height: int, ascii_only: bool) -> list[Line]:
    half = (width - 2) // 2
    done, failed = past.rates("done"), past.rates("failed")
    waited, ran = past.seconds("wait_high"), past.seconds("run_high")
    left = [
        *_chart("done per second", done, half, height, amount, "good", ascii_only=ascii_only),
        *_spark("failed", failed, half, amount, "bad", ascii_only=ascii_only),
    ]
    right = [
        *_chart("waited, 95%", waited, half, height, duration, "key", ascii_only=ascii_only),
        *_spark("ran, 95%", ran, half, duration, "key", ascii_only=ascii_only),
    ]
    return side_by_side(left, right, half)


def _chart(
    title: str, values: Sequence[float], width: int, height: int, unit: Unit, style: str, *, ascii_only: bool
) -> list[Line]:
    highest = f"at most {unit(max(values, default=0.0))}"
    drawn = [line(Span(fit(title, max(0, width - cells(highest))), "head"), Span(highest, "head"))]
    return drawn + [line(Span(row, style)) for row in area(values, width, height, ascii_only=ascii_only)]


def _spark(title: str, values: Sequence[float], width: int, unit: Unit, style: str, *, ascii_only: bool) -> list[Line]:
    """The time axis of the chart above, and a chart of one line below it."""
    dash = "." if ascii_only else "┈"
    said = f" {title}, at most {unit(max(values, default=0.0))} "
    ruler = fit(f"5 min ago{said:{dash}^{max(0, width - 12)}}", width - 3) + "now"
    (row,) = area(values, width, 1, ascii_only=ascii_only)
    return [line(Span(ruler, "dim")), line(Span(row, style))]


def _table(table: tables.Table, width: int, height: int) -> list[Line]:
    rows = tables.body(table, table.rows[:height], width) or [line(Span(table.empty, "dim"))]
    return [tables.header(table, width), *rows]
