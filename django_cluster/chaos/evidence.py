"""What is known when a run is over: plain values, gathered from the journals and the tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from django_cluster.chaos.journal import ACCEPTED, BEGUN, CALLED
from django_cluster.chaos.plan import Deed, Kind, Target

# All moments are of time.monotonic(), which is one clock for all processes of a machine.


class Call(NamedTuple):
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


class Birth(NamedTuple):
    """A process of the cluster."""

    pid: int
    sentinel: int
    birth: str
    """Tells it from a later process of the same number."""
    role: Target


class Hit(NamedTuple):
    """Something that was done to the cluster."""

    at: float
    target: Target
    pid: int = 0
    """Which process; 0 where it was no single one."""
    sentinel: int = 0
    """Whose child that was; for a sentinel, itself."""
    seconds: float = 0.0
    """How long it lasted; for a clock, how far from the right time it was set."""
    kind: Kind = Kind.KILL

    @property
    def deed(self) -> Deed:
        """What was done to what sort of victim."""
        return Deed(self.kind, self.target)


class Look(NamedTuple):
    """What the watcher saw at one moment."""

    at: float
    done: int
    """Rows of tasks that have succeeded."""
    waiting: int
    """Messages in the queue, lent ones included."""


class Row(NamedTuple):
    """How a task ended, as its row says."""

    task: str
    success: bool
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that the verdict depends on."""

    broker: str
    seed: int
    began: float
    seconds: float
    """How long tasks were enqueued."""
    lease: float
    calls: Sequence[Call] = ()
    executions: Sequence[Execution] = ()
    births: Sequence[Birth] = ()
    hits: Sequence[Hit] = ()
    looks: Sequence[Look] = ()
    rows: Sequence[Row] = ()
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
        object.__setattr__(self, "sentinels", {birth.pid: birth.sentinel for birth in self.births})


def calls_from(lines: Iterable[Sequence[str]]) -> list[Call]:
    """Those that have ended."""
    return [
        Call(task, float(began), float(reason[0]), word == ACCEPTED, " ".join(reason[1:]))
        for word, task, began, *reason in lines
        if word != CALLED
    ]


def births_from(lines: Iterable[Sequence[str]]) -> list[Birth]:
    return [Birth(int(pid), int(sentinel), birth, Target(role)) for pid, sentinel, birth, role in lines]


def looks_from(lines: Iterable[Sequence[str]]) -> list[Look]:
    return [Look(float(at), int(done), int(waiting)) for at, done, waiting in lines]


def executions_from(lines: Iterable[Sequence[str]]) -> list[Execution]:
    """Each beginning with its end, where there is one, in the order of the beginnings."""
    found: list[Execution] = []
    running: dict[tuple[str, int], int] = {}
    for word, task, number, moment in lines:
        pid, at = int(number), float(moment)
        if word == BEGUN:
            running[task, pid] = len(found)
            found.append(Execution(task, pid, at, None))
        else:
            place = running.pop((task, pid))
            found[place] = found[place]._replace(ended=at)
    return found
