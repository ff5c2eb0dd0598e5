"""Everything there is to see at one moment, as one frozen value."""

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
    """Why nothing could be seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskView:
    """One task: waiting in a queue, or as its row says that it ended."""

    id: str
    name: str
    func: str
    queue: str
    state: str
    """``ready``, ``delayed``, ``leased``, or a status of ``Task``."""
    attempts: int
    moment: float
    """When it was enqueued (waiting), or stopped (ended)."""
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
    """Names a waiting one at its broker."""

    @property
    def waits(self) -> bool:
        return self.state in ("ready", "delayed", "leased")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleView:
    """One standing order."""

    id: int
    name: str
    func: str
    rule: str
    """Its type in words."""
    queue: str
    next_run: float | None
    repeats: int
    enabled: bool
    task: str = ""
    """Id of the last task that it sent."""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """How many rows there are; counted up to a limit, because nobody waits for a million."""

    successes: int = 0
    failures: int = 0
    schedules: int = 0
    late: int = 0
    """Schedules that are overdue by more than a minute."""
    limit: int = 0
    """A number that has reached this may be larger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What was seen; parts that were not looked at this time are as they were seen before."""

    taken_at: float = 0.0
    label: str = ""
    broker: str = ""
    clusters: tuple[ClusterStatus, ...] = ()
    """Dead ones too."""
    pauses: tuple[QueuePause, ...] = ()
    queues: tuple[QueueView, ...] = ()
    waiting: tuple[TaskView, ...] = ()
    """The first that would be lent, of each queue."""
    ended: tuple[TaskView, ...] = ()
    """The newest, of any status."""
    failures: tuple[TaskView, ...] = ()
    """The newest that did not succeed."""
    schedules: tuple[ScheduleView, ...] = ()
    totals: Totals = Totals()
    problems: tuple[str, ...] = ()
    """Servers that could not be asked, in sentences."""
    part_times: Mapping[str, float] = field(default_factory=dict)
    """When each part was last seen."""

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
    """All about one task that has ended."""

    title: str
    facts: tuple[tuple[str, str], ...] = field(repr=False)
    traceback: str = field(default="", repr=False)
    attempts: tuple[str, ...] = field(default=(), repr=False)
    """Earlier runs, a line each."""
