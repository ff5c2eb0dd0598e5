"""The charts of a window of history, and the same as a table."""

from __future__ import annotations

from typing import NamedTuple

from django.utils.safestring import SafeString
from django.utils.translation import gettext

from django_cluster.admin.charts import Stack, bars, lines
from django_cluster.admin.formatting import local, number
from django_cluster.admin.overview_parts import short
from django_cluster.core.time import from_unix_time
from django_cluster.dashboard.history.trends import Summary, Trends, Window

SHARES = ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
"""The quantiles that are drawn, and their names."""


class BucketRow(NamedTuple):
    """One bucket of the charts, as a row of the table beside them."""

    when: str
    summary: Summary
    waits: str
    runs: str


def moment_of(unix_time: float, window: Window) -> str:
    """A moment as an axis names it, in the current time zone."""
    moment = local(from_unix_time(unix_time))
    return f"{moment:%H:%M}" if window.seconds <= 86_400 else f"{moment:%m-%d %H:%M}"


def throughput(course: Trends) -> SafeString:
    """Bars of what succeeded and what failed."""
    stacks = []
    for place, each in enumerate(course.buckets):
        counts = {"done": number(each.done), "failed": number(each.failed)}
        said = gettext("%(done)s succeeded, %(failed)s failed") % counts
        when = moment_of(course.bucket_start(place), course.window)
        stacks.append(Stack(f"{when}: {said}", [("good", each.done), ("bad", each.failed)]))
    total = {"done": number(course.total.done), "failed": number(course.total.failed)}
    return bars(stacks, gettext("%(done)s succeeded, %(failed)s failed") % total)


def quantiles(course: Trends, what: str, title: str) -> SafeString:
    """Lines of the quantiles of ``what``, which is ``wait`` or ``run``."""
    series = [(name, [getattr(each, what)(share) for each in course.buckets]) for share, name in SHARES]
    said = ", ".join(f"{name} {short(getattr(course.total, what)(share))}" for share, name in SHARES)
    return lines(series, f"{title}: {said}")


class Tops(NamedTuple):
    """What the height of each chart stands for."""

    throughput: str
    waits: str
    runs: str


def tops(course: Trends) -> Tops:
    """The highest values of the charts of a window."""
    share = SHARES[-1][0]
    waits = [found for each in course.buckets if (found := each.wait(share)) is not None]
    runs = [found for each in course.buckets if (found := each.run(share)) is not None]
    most = max(each.runs for each in course.buckets)
    return Tops(number(most), short(max(waits, default=None)), short(max(runs, default=None)))


def bucket_rows(course: Trends) -> list[BucketRow]:
    """The buckets in which something ended, the newest first."""
    found = [
        BucketRow(
            moment_of(course.bucket_start(place), course.window), each,
            " / ".join(short(each.wait(share)) for share, _ in SHARES),
            " / ".join(short(each.run(share)) for share, _ in SHARES),
        )
        for place, each in enumerate(course.buckets)
        if each.runs
    ]  # fmt: skip
    return found[::-1]
