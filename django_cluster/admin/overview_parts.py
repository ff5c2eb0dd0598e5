"""The rows of the tables of the overview."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from django.utils import timezone
from django.utils.safestring import SafeString

from django_cluster.admin.charts import Stack, bars
from django_cluster.admin.formatting import NOTHING, ago, from_now, function_path, number, state_badge
from django_cluster.admin.queue_reader import QueueInspector
from django_cluster.brokers.messages import QueueSize
from django_cluster.core.redaction import redactor
from django_cluster.core.time import from_unix_time
from django_cluster.dashboard.history.attention import NEAR_LIMIT, QueueFact
from django_cluster.dashboard.history.trends import FailureKind, Summary, Trends
from django_cluster.dashboard.state_labels import about, schedule_state
from django_cluster.models import Schedule
from django_cluster.stores.status import ClusterStatus, RunningTask

MAX_ERROR = 160
"""Characters of an error that a row shows."""


class OverviewQueueRow(NamedTuple):
    """One queue. A number that is not known is a question mark."""

    fact: QueueFact
    size: QueueSize | None
    ready: str
    delayed: str
    leased: str
    oldest: str
    per_minute: str
    state: SafeString

    @classmethod
    def of(cls, fact: QueueFact, course: Trends, state: SafeString, size: QueueSize | None) -> OverviewQueueRow:
        """The row of a queue; ``course``: for how many tasks end in a minute."""
        summary = course.queues.get(fact.name, Summary())
        counts = ("?", "?", "?") if size is None else map(number, (size.ready, size.delayed, size.leased))
        ready, delayed, leased = counts
        oldest = NOTHING if fact.oldest is None else about(fact.oldest)
        rate = f"{summary.runs / (course.window.seconds / 60):.3g}"
        return cls(fact, size, ready, delayed, leased, oldest, rate, state)


class FunctionRow(NamedTuple):
    """One function."""

    func: SafeString
    url: str
    summary: Summary
    runs: str
    p50: str
    p95: str
    failed: str
    total: str


class FailureRow(NamedTuple):
    """Failures of one function with one class of error."""

    kind: FailureKind
    func: SafeString
    func_url: str
    url: str
    failed: str
    error: str
    last_seen: SafeString
    course: SafeString


class ScheduleRow(NamedTuple):
    """One schedule."""

    name: str
    func: SafeString
    url: str
    state: SafeString
    next_run: SafeString | str
    is_late: bool
    is_broken: bool


def short(value: float | None) -> str:
    """A duration in seconds with the digits that matter: ``3 ms``, ``1.25 s``, ``14 min``."""
    if value is None:
        return NOTHING
    if value >= 60:
        return about(value)
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.0f} ms" if value >= 0.001 else "< 1 ms"


def queue_facts(queues: QueueInspector, course: Trends, now: float) -> tuple[QueueFact, ...]:
    """What is known of each queue."""
    found = []
    for name in queues.names:
        size, pause = queues.size_of(name), queues.pauses.get(name)
        serving = [each for each in queues.clusters if each.alive and name in each.queues]
        found.append(
            QueueFact(
                name=name,
                ready=size.ready if size else 0,
                oldest=queues.oldest_wait(name, now),
                usual_wait=course.queues[name].wait(0.95) if name in course.queues else None,
                workers=sum(len(each.workers) for each in serving),
                paused_seconds=pause.age if pause else None,
                paused_by=pause.by if pause else "",
                is_away=size is None,
            )
        )
    return tuple(found)


def near_limit(clusters: Iterable[ClusterStatus]) -> tuple[str, ...]:
    """The functions of tasks that have used most of their time limit, each once."""
    return tuple(
        sorted(
            {
                process.task.func
                for status in clusters
                for process in status.running
                if process.task is not None and _is_near_limit(process.task, status.published_at + status.age)
            }
        )
    )


def _is_near_limit(task: RunningTask, now: float) -> bool:
    return task.limit is not None and now - task.started > NEAR_LIMIT * task.limit


def function_rows(
    functions: Sequence[tuple[str, Summary]], page_of: Callable[[str], str], limit: int
) -> list[FunctionRow]:
    """The costliest functions. ``page_of``: the address of the page of a function."""
    return [
        FunctionRow(
            func=function_path(func),
            url=page_of(func),
            summary=summary,
            runs=number(summary.runs),
            p50=short(summary.run(0.5)),
            p95=short(summary.run(0.95)),
            failed=f"{100 * summary.failure_share:.1f} %" if summary.failed else NOTHING,
            total=about(summary.run_seconds),
        )
        for func, summary in functions[:limit]
    ]


def failure_rows(
    course: Trends, link: Callable[[str, str], str], page_of: Callable[[str], str], limit: int, *, errors: bool
) -> list[FailureRow]:
    """The most frequent failures. ``link``: the address of the list of them; ``errors``: whether the text of the last
    error may be shown, which may quote an argument.
    """
    return [
        FailureRow(
            kind=kind,
            func=function_path(kind.func),
            func_url=page_of(kind.func),
            url=link(kind.func, kind.error_kind),
            failed=number(kind.count),
            error=redactor().text(kind.last_error)[:MAX_ERROR] if errors else "",
            last_seen=ago(from_unix_time(kind.last_seen)),
            course=_sparkline(kind),
        )
        for kind in course.failures[:limit]
    ]


def _sparkline(kind: FailureKind) -> SafeString:
    stacks = [Stack(number(count), [("bad", count)]) for count in kind.per_bucket]
    return bars(stacks, number(kind.count), width=120, height=20)


def schedule_rows(rows: Iterable[Schedule], page_of: Callable[[int], str], late_seconds: float) -> list[ScheduleRow]:
    """Schedules, those in trouble first and then by their next run."""
    now, found = timezone.now(), []
    for row in rows:
        until = (row.next_run - now).total_seconds() if row.next_run else None
        error = bool(row.last_error)
        active = row.enabled and row.repeats != 0 and not error
        state = schedule_state(enabled=row.enabled, repeats=row.repeats, until_next_run=until, error=row.last_error)
        found.append(
            ScheduleRow(
                name=row.name or row.func,
                func=function_path(row.func),
                url=page_of(row.pk),
                state=state_badge(state),
                next_run=from_now(row.next_run) if row.next_run else NOTHING,
                is_late=active and until is not None and until < -late_seconds,
                is_broken=error,
            )
        )
    return sorted(found, key=lambda each: not (each.is_late or each.is_broken))
