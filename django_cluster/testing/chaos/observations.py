"""What is known when a run is over: plain values, gathered from the journals and the tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from django_cluster.testing.chaos.journal import ACCEPTED, CALLED, STARTED
from django_cluster.testing.chaos.plan import FaultKind, FaultType, Target

# All moments are of time.monotonic(), which is one clock for all processes of a machine.


class EnqueueCall(NamedTuple):
    """One enqueueing, as the sender saw it."""

    task: str
    began: float
    ended: float
    accepted: bool
    reason: str = ""
    """Why it was refused."""


class Execution(NamedTuple):
    """One run of a task, as the task itself noted it."""

    task: str
    pid: int
    began: float
    ended: float | None
    """None: it was cut off."""


class ProcessStart(NamedTuple):
    """A process of the cluster."""

    pid: int
    sentinel: int
    start_time: str
    """Tells it from a later process of the same number."""
    role: Target


class InjectedFault(NamedTuple):
    """Something that was done to the cluster."""

    at: float
    target: Target
    pid: int = 0
    """Which process; 0 where it was no single one."""
    sentinel: int = 0
    """Whose child that was; for a sentinel, itself."""
    seconds: float = 0.0
    """How long it lasted; for a clock, how far from the right time it was set."""
    kind: FaultKind = FaultKind.KILL

    @property
    def fault_type(self) -> FaultType:
        """What was done to what sort of victim."""
        return FaultType(self.kind, self.target)


class ProgressSample(NamedTuple):
    """What the watcher saw at one moment."""

    at: float
    done: int
    """Rows of tasks that have succeeded."""
    waiting: int
    """Messages in the queue, lent ones included."""


class ResultRow(NamedTuple):
    """How a task ended, as its row says."""

    task: str
    success: bool
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Observations:
    """Everything that the analysis depends on."""

    broker: str
    seed: int
    began: float
    seconds: float
    """How long tasks were enqueued."""
    lease: float
    calls: Sequence[EnqueueCall] = ()
    executions: Sequence[Execution] = ()
    process_starts: Sequence[ProcessStart] = ()
    faults: Sequence[InjectedFault] = ()
    progress: Sequence[ProgressSample] = ()
    rows: Sequence[ResultRow] = ()
    left: Sequence[str] = ()
    """Processes and files that were still there when the cluster had ended."""
    messages_left: int = 0
    not_applicable: Sequence[str] = ()
    """What was asked for and cannot be done here, in sentences."""
    incidents: Sequence[str] = ()
    """What should not have happened and is no matter of counting, in sentences."""
    sentinels: Mapping[int, int] = field(init=False)
    """The sentinel of every process of the cluster."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sentinels", {start.pid: start.sentinel for start in self.process_starts})


def calls_from(lines: Iterable[Sequence[str]]) -> list[EnqueueCall]:
    """Those that have ended."""
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
    """Each beginning with its end, where there is one, in the order of the beginnings."""
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
