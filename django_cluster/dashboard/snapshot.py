"""The snapshot of clusters, queues, tasks and schedules: frozen values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from django_cluster.stores.operator_commands import QueuePause
from django_cluster.stores.status import ClusterStatus, ProcessStatus

FAILED, WAITING = "failed", "waiting"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueView:
    """One queue. All moments here are Unix times in seconds."""

    name: str
    broker: str
    """The kind of its broker."""
    ready: int = 0
    delayed: int = 0
    leased: int = 0
    problem: str = ""
    """Error of its broker; empty if it has answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskView:
    """One task: queued, or finished and read from its row."""

    id: str
    name: str
    func: str
    queue: str
    state: str
    """``ready``, ``delayed``, ``leased``, or a status of ``Task``."""
    attempts: int
    moment: float
    """Time at which it was enqueued (queued) or stopped (finished)."""
    due: float | None = None
    """When a delayed one becomes ready."""
    wait: float = 0.0
    """Seconds before it was started."""
    run: float = 0.0
    """Seconds of its last run."""
    error: str = ""
    final: bool = True
    group: str = ""
    worker: str = ""
    key: str = ""
    """Key of the message at its broker."""

    @property
    def waits(self) -> bool:
        return self.state in ("ready", "delayed", "leased")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleView:
    """One schedule."""

    id: int
    name: str
    func: str
    rule: str
    """The rule in words, e.g. ``every 5 min``."""
    queue: str
    next_run: float | None
    repeats: int
    enabled: bool
    task: str = ""
    """Id of the last task that it sent."""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Numbers of rows, counted up to a limit."""

    successes: int = 0
    failures: int = 0
    schedules: int = 0
    late: int = 0
    """Schedules that are overdue by more than a minute."""
    limit: int = 0
    """A number that has reached this may be larger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A snapshot; parts that were not refreshed keep their older data."""

    taken_at: float = 0.0
    label: str = ""
    clusters: tuple[ClusterStatus, ...] = ()
    """Live and lost clusters."""
    pauses: tuple[QueuePause, ...] = ()
    queues: tuple[QueueView, ...] = ()
    waiting: tuple[TaskView, ...] = ()
    """The next messages of each queue."""
    ended: tuple[TaskView, ...] = ()
    """The newest finished tasks."""
    failures: tuple[TaskView, ...] = ()
    """The newest failures."""
    schedules: tuple[ScheduleView, ...] = ()
    totals: Totals = Totals()
    problems: tuple[str, ...] = ()
    """Errors of servers that did not answer, as sentences."""
    part_times: Mapping[str, float] = field(default_factory=dict)
    """Name of each part → Unix time of its last refresh."""

    @property
    def alive(self) -> tuple[ClusterStatus, ...]:
        return tuple(cluster for cluster in self.clusters if cluster.alive)

    def workers(self) -> Iterator[tuple[ClusterStatus, ProcessStatus]]:
        return ((cluster, worker) for cluster in self.alive for worker in cluster.workers)

    def paused(self, queue: str) -> QueuePause | None:
        return next((pause for pause in self.pauses if pause.queue == queue), None)

    def as_json(self) -> dict[str, Any]:
        """Plain values, for programs."""
        document = asdict(self)
        for cluster, entry in zip(self.clusters, document["clusters"], strict=True):
            entry["alive"] = cluster.alive
            entry["lost_at"] = cluster.lost_at
        for queue, entry in zip(self.queues, document["queues"], strict=True):
            entry["clusters"] = sum(queue.name in cluster.queues for cluster in self.alive)
        return document


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """The details of one finished task."""

    title: str
    facts: tuple[tuple[str, str], ...] = field(repr=False)
    traceback: str = field(default="", repr=False)
    attempts: tuple[str, ...] = field(default=(), repr=False)
    """Earlier runs, one line each."""
    variables: tuple[str, ...] = field(default=(), repr=False)
    """The frames of the project's own code with their variables, one line each."""
    log_lines: tuple[str, ...] = field(default=(), repr=False)
