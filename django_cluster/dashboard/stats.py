"""The numbers of ``qinfo`` and ``qmemory``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Avg, Count, DurationField, ExpressionWrapper, F
from django.utils import timezone

from django_cluster.dashboard.snapshot import Snapshot
from django_cluster.dashboard.tables import Column, Table, TableRow
from django_cluster.dashboard.text import megabytes
from django_cluster.models.task import saved_tasks
from django_cluster.stores.operator_commands import QueuePause
from django_cluster.stores.session import results_session
from django_cluster.stores.status import ClusterStatus, RunningTask

DAY = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LostCluster:
    """A cluster that has ended without a graceful stop."""

    id: str
    name: str
    host: str
    pid: int
    lost_at: float
    """Unix time of its last heartbeat, by the clock of its host."""
    age: float
    """Seconds since then, by the clock of the database."""
    queues: tuple[str, ...]
    running: tuple[RunningTask, ...]
    """Tasks that its workers were running."""


def lost_clusters(snapshot: Snapshot) -> tuple[LostCluster, ...]:
    """The lost clusters of a snapshot, the latest first."""
    lost = sorted((each for each in snapshot.clusters if not each.alive), key=lambda each: each.age)
    return tuple(
        LostCluster(
            id=each.id,
            name=each.name,
            host=each.host,
            pid=each.pid,
            lost_at=each.published_at,
            age=each.age,
            queues=each.queues,
            running=tuple(task for worker in each.running for task in worker.tasks),
        )
        for each in lost
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """The numbers of ``qinfo``."""

    clusters: int
    lost: tuple[LostCluster, ...]
    """Clusters that ended within the last 24 hours without a graceful stop, the last one first."""
    workers: int
    restarts: int
    queued: int | None
    """Messages that are ready, in the queues whose broker answered; None if none did."""
    delayed: int | None
    leased: int | None
    unknown: tuple[str, ...]
    """Queues whose broker did not answer: their messages are not in the three figures before."""
    paused: tuple[QueuePause, ...]
    """Paused queues."""
    successes: int
    failures: int
    schedules: int
    counted_to: int
    """Successes, failures and schedules are not counted further than this; there may be more."""
    late: int
    """Schedules that are overdue by more than a minute."""
    tasks_per_day: float
    """Tasks that ended within the last 24 hours; the other rates are derived from it."""
    average_time: float
    """Mean seconds from the call to the end of these tasks."""
    average_run: float
    """Mean seconds of the last run of these tasks."""

    @property
    def tasks_per_hour(self) -> float:
        return self.tasks_per_day / 24

    @property
    def tasks_per_minute(self) -> float:
        return self.tasks_per_hour / 60

    @property
    def tasks_per_second(self) -> float:
        return self.tasks_per_minute / 60


def stats_of(snapshot: Snapshot, database: str) -> Stats:
    """The statistics of a snapshot and of the last 24 hours, by two queries. Raises ``StoreUnavailable``."""
    counts = [_last_day(database, success=success) for success in (True, False)]
    tasks = sum(count for count, _, _ in counts)
    whole, run = (sum(each[0] * each[place] for each in counts) / (tasks or 1) for place in (1, 2))
    known = [queue for queue in snapshot.queues if not queue.problem]
    return Stats(
        clusters=len(snapshot.alive),
        lost=lost_clusters(snapshot),
        workers=sum(len(cluster.workers) for cluster in snapshot.alive),
        restarts=sum(cluster.restarts for cluster in snapshot.alive),
        queued=sum(queue.ready for queue in known) if known else None,
        delayed=sum(queue.delayed for queue in known) if known else None,
        leased=sum(queue.leased for queue in known) if known else None,
        unknown=tuple(queue.name for queue in snapshot.queues if queue.problem),
        paused=snapshot.pauses,
        successes=snapshot.totals.successes,
        failures=snapshot.totals.failures,
        schedules=snapshot.totals.schedules,
        counted_to=snapshot.totals.limit,
        late=snapshot.totals.late,
        tasks_per_day=tasks,
        average_time=whole,
        average_run=run,
    )


def _last_day(database: str, *, success: bool) -> tuple[int, float, float]:
    """Number of tasks that ended in the last 24 hours, mean seconds since the call, mean seconds of the run."""

    def mean(since: str) -> Avg:
        return Avg(ExpressionWrapper(F("stopped_at") - F(since), output_field=DurationField()))

    since = timezone.now() - timedelta(days=1)
    rows = saved_tasks(database).order_by().filter(success=success, stopped_at__gte=since)
    found: dict[str, Any] = results_session(database).read(
        lambda: rows.aggregate(count=Count("pk"), whole=mean("enqueued_at"), run=mean("started_at"))
    )
    seconds = [(found[name] or timedelta()).total_seconds() for name in ("whole", "run")]
    return found["count"], seconds[0], seconds[1]


MEMORY = (
    Column("HOST", 14),
    Column("CLUSTER", 9),
    Column("QUEUES"),
    Column("FREE%", 6, right=True),
    Column("FREE", 6, right=True),
    Column("TOTAL", 6, right=True),
    Column("SENTINEL", 8, right=True),
    Column("MONITOR", 8, right=True),
    Column("PUSHER", 7, right=True),
    Column("WORKERS", 8, right=True),
)
"""Columns of ``qmemory``. Each cluster reports the memory of its own host and processes."""


def memory_table(clusters: Sequence[ClusterStatus], *, workers: bool = False) -> Table:
    """Memory of the processes of each cluster and of its host; with ``workers`` one row for each worker."""
    rows = []
    for cluster in clusters:
        rows.append(_memory(cluster))
        if workers:
            rows += [
                TableRow(
                    key=f"worker:{cluster.id}:{worker.incarnation}",
                    cells=("", "", f"  {worker.name} ({worker.pid})", "", "", "", "", "", "", megabytes(worker.rss)),
                )
                for worker in cluster.workers
            ]
    return Table(MEMORY, tuple(rows), "No cluster is running.")


def _memory(cluster: ClusterStatus) -> TableRow:
    held = {process.role: megabytes(process.rss) for process in cluster.processes}
    share = f"{100 * cluster.memory_free / cluster.memory_total:.1f}" if cluster.memory_total else ""
    return TableRow(
        key=f"cluster:{cluster.id}",
        cells=(
            cluster.host,
            cluster.id[-8:],
            ",".join(cluster.queues),
            share,
            megabytes(cluster.memory_free),
            megabytes(cluster.memory_total),
            held.get("sentinel", ""),
            held.get("monitor", ""),
            held.get("pusher", ""),
            megabytes(sum(worker.rss for worker in cluster.workers)),
        ),
    )


def memory_document(clusters: Sequence[ClusterStatus]) -> list[dict[str, Any]]:
    """The table of ``qmemory`` as plain values for JSON; sizes in kilobytes."""
    return [
        {
            "id": cluster.id,
            "host": cluster.host,
            "queues": list(cluster.queues),
            "memory_total": cluster.memory_total,
            "memory_free": cluster.memory_free,
            "processes": [
                {"name": process.name, "pid": process.pid, "rss": process.rss} for process in cluster.processes
            ],
        }
        for cluster in clusters
    ]
