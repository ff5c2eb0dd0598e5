"""Facts about a task, a queue or a schedule: the input of a diagnosis. All times are Unix times in seconds."""

from __future__ import annotations

from dataclasses import dataclass

from django_cluster.stores.operator_commands import QueuePause, TaskPause
from django_cluster.stores.status import ClusterStatus, ProcessStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFacts:
    """How the last run of a task has ended, as its row says."""

    status: str
    final: bool
    attempts: int
    stopped: float
    success: bool
    error: str = ""
    retried_as: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedFacts:
    """The row of a tracked task, which exists from the moment at which it is sent."""

    status: str
    """A ``TaskStatus``."""
    queue: str
    enqueued: float
    sent: bool = True
    """Whether its message has reached the broker."""
    due: float | None = None
    """When it is due, if it was sent with a delay."""
    attempts: int = 0
    started: float | None = None
    """When its last run began."""
    worker: str = ""
    """The worker of its last run."""
    finished: float | None = None
    error: str = ""
    """The class of the error of its last run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFacts:
    """The message of a task in its queue."""

    state: str
    """``ready``, ``delayed`` or ``leased``."""
    attempts: int = 0
    due: float | None = None
    """When it becomes ready, or when its lease ends."""
    ahead: int = 0
    """Messages that are taken before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRowFacts:
    """One schedule, as its row says."""

    name: str
    queue: str
    enabled: bool
    next_run: float | None
    error: str = ""
    busy: bool = False
    """Whether its last run is unfinished and its runs must not overlap."""
    ended: bool = False
    """Whether it has no repeats left; its row may still have a next run."""
    task: str = ""
    """Id of the last task that it has sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFacts:
    """A queue, its clusters and its messages."""

    name: str
    broker: str = ""
    known: bool = True
    """Whether the settings, a cluster, a schedule or a pause name it; a queue with messages only may be misspelt."""
    nearest: str = ""
    """The known queue with the most similar name."""
    problem: str = ""
    """Why the broker could not be asked."""
    ready: int = 0
    delayed: int = 0
    leased: int = 0
    first_due: float | None = None
    """When the first of the delayed messages is due, where the broker shows them."""
    unreadable: int = 0
    """Messages among those that were looked at which cannot be read with this project's keys."""
    searched: int = 0
    """How many messages were looked at; -1 = this broker shows none."""
    pause: QueuePause | None = None
    clusters: tuple[ClusterStatus, ...] = ()
    """Clusters of this queue that are alive."""
    lost: tuple[ClusterStatus, ...] = ()
    schedules: tuple[ScheduleRowFacts, ...] = ()

    @property
    def workers(self) -> tuple[ProcessStatus, ...]:
        return tuple(worker for cluster in self.clusters for worker in cluster.workers)

    @property
    def total(self) -> int:
        return self.ready + self.delayed + self.leased

    @property
    def unseen(self) -> str:
        """What could not be searched, as a sentence; empty if everything was."""
        if self.problem:
            return f"The broker of queue {self.name!r} could not be asked."
        if self.searched < 0:
            return f"The broker {self.broker!r} of queue {self.name!r} does not show its messages."
        if self.searched < self.total:
            return f"Of {self.total} messages in queue {self.name!r} only {self.searched} were looked at."
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFacts:
    """What is known of one task."""

    id: str
    name: str = ""
    func: str = ""
    row: RowFacts | None = None
    tracked: TrackedFacts | None = None
    message: MessageFacts | None = None
    cluster: ClusterStatus | None = None
    """The cluster that runs it, or that ran it when it was lost."""
    worker: ProcessStatus | None = None
    pause: TaskPause | None = None
    """The pause of its function, if it is paused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that was found out about ``target``."""

    target: str
    now: float
    task: TaskFacts | None = None
    """Where the target is a task, or looks like the id of one."""
    schedule: ScheduleRowFacts | None = None
    """Where the target is a schedule, or the task was its last."""
    queues: tuple[QueueFacts, ...] = ()
    """The queue in question; for a task that was not found, all that were searched."""
    clock_ahead: float = 0.0
    """Seconds by which the clock of this machine is ahead of that of the database."""
    sync: bool = False
    """Whether the settings say that tasks run where they are called."""
    on_commit: bool = True
    keeps_successes: bool = True
    """Whether a success leaves a row at all."""
    problems: tuple[str, ...] = ()
    """Servers that could not be asked, in sentences."""

    @property
    def unseen(self) -> tuple[str, ...]:
        seen = [queue.unseen for queue in self.queues]
        return tuple(dict.fromkeys(text for text in (*self.problems, *seen) if text))
