"""The observations of a run as plain values, read from the journals and the tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from django_cluster.testing.chaos.journal import ACCEPTED, CALLED, STARTED
from django_cluster.testing.chaos.plan import FaultKind, FaultType, Target

# All moments are of time.monotonic(), which is one clock for all processes of a machine.


class EnqueueCall(NamedTuple):
    """One call that enqueued a task, as recorded by the sender. Times are of ``time.monotonic()``."""

    task: str
    began: float
    ended: float
    accepted: bool
    reason: str = ""
    """The error message of a refused call."""


class Execution(NamedTuple):
    """One run of a task, as recorded by the task itself."""

    task: str
    pid: int
    began: float
    ended: float | None
    """None if the run was cut off."""


class ProcessStart(NamedTuple):
    """A process of the cluster, recorded when it started."""

    pid: int
    sentinel: int
    start_time: str
    """Start time as the kernel gives it; distinguishes processes that had the same pid."""
    role: Target


class InjectedFault(NamedTuple):
    """A fault that was injected."""

    at: float
    target: Target
    pid: int = 0
    """Pid of the process that was hit; 0 if it was not a single process."""
    sentinel: int = 0
    """Pid of the sentinel of that process; for a sentinel, its own pid."""
    seconds: float = 0.0
    """Duration of the fault; for ``clock``, the offset that was set."""
    kind: FaultKind = FaultKind.KILL

    @property
    def fault_type(self) -> FaultType:
        """Kind and target as one value."""
        return FaultType(self.kind, self.target)


class ProgressSample(NamedTuple):
    """Progress at one moment."""

    at: float
    done: int
    """Rows of tasks that have succeeded."""
    waiting: int
    """Messages in the queue, leased ones included."""


class ResultRow(NamedTuple):
    """The result row of a task."""

    task: str
    success: bool
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Observations:
    """The input of ``analysis.analyse``."""

    broker: str
    seed: int
    began: float
    seconds: float
    """Seconds during which tasks were enqueued."""
    lease: float
    calls: Sequence[EnqueueCall] = ()
    executions: Sequence[Execution] = ()
    process_starts: Sequence[ProcessStart] = ()
    faults: Sequence[InjectedFault] = ()
    cancelled: Sequence[str] = ()
    """Ids of tasks that were to be cancelled; some may have ended before."""
    progress: Sequence[ProgressSample] = ()
    rows: Sequence[ResultRow] = ()
    left: Sequence[str] = ()
    """Processes and files that still existed after the cluster had ended."""
    messages_left: int = 0
    not_applicable: Sequence[str] = ()
    """Requested faults that are impossible with these settings, as sentences."""
    incidents: Sequence[str] = ()
    """Unexpected events, as sentences."""
    sentinels: Mapping[int, int] = field(init=False)
    """Pid of each process → pid of its sentinel."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sentinels", {start.pid: start.sentinel for start in self.process_starts})


def calls_from(lines: Iterable[Sequence[str]]) -> list[EnqueueCall]:
    """The calls of a journal that have returned or raised."""
    return [
        EnqueueCall(task, float(began), float(reason[0]), word == ACCEPTED, " ".join(reason[1:]))
        for word, task, began, *reason in lines
        if word != CALLED
    ]


def process_starts_from(lines: Iterable[Sequence[str]]) -> list[ProcessStart]:
    return [
        ProcessStart(int(pid), int(sentinel), start_time, Target(role)) for pid, sentinel, start_time, role in lines
    ]


def progress_from(lines: Iterable[Sequence[str]]) -> list[ProgressSample]:
    return [ProgressSample(float(at), int(done), int(waiting)) for at, done, waiting in lines]


def executions_from(lines: Iterable[Sequence[str]]) -> list[Execution]:
    """The runs of a journal, ordered by their start; ``ended`` is None for runs that were cut off."""
    found: list[Execution] = []
    running: dict[tuple[str, int], int] = {}
    for word, task, number, moment in lines:
        pid, at = int(number), float(moment)
        if word == STARTED:
            running[task, pid] = len(found)
            found.append(Execution(task, pid, at, None))
        else:
            place = running.pop((task, pid))
            found[place] = found[place]._replace(ended=at)
    return found
