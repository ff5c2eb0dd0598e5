"""The status of every running cluster: a small row each in the database, written with each heartbeat.

The cache would not do: it is often local to a process, so that no other process could read it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, TypeVar

from django.db import router
from django.db.models import F, QuerySet

from django_cluster.core.task_progress import TaskProgress
from django_cluster.database.clock import MICROSECONDS, DatabaseClock
from django_cluster.models import Heartbeat, OperatorCommand
from django_cluster.stores.session import results_session

FORGET_AFTER_SECONDS = 86400.0
"""Seconds for which a lost cluster is still shown: one that has died without a graceful stop."""
LOST = "lost"
"""The state of a cluster whose sentinel was killed, as its own monitor has seen."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningTask:
    """What a worker runs now."""

    id: str
    name: str
    func: str
    started: float
    """Unix time."""
    limit: float | None = None
    """Seconds that it may run; None = no limit."""
    progress: TaskProgress | None = None
    """How far it is, if it has said so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStatus:
    """One process of a cluster."""

    role: str
    """``sentinel``, ``monitor``, ``pusher``, ``worker``, ``scheduler`` or ``notifier``."""
    index: int = 0
    """Which of its role, from 0."""
    incarnation: int = 0
    """Names this life of it; the sentinel has none."""
    pid: int
    state: str
    """``booting``, ``idle``, ``busy``, ``stopping``; of the sentinel that of the cluster."""
    done: int = 0
    """Tasks that this incarnation of a worker has finished."""
    rss: int = 0
    """Resident memory in kilobytes; 0 = unknown."""
    cpu: float = 0.0
    """Percent of one processor since the last heartbeat."""
    task: RunningTask | None = None
    """What it runs; of several, the one that runs longest."""
    others: tuple[RunningTask, ...] = ()
    """What else a worker runs at the same time: its other ``async def`` tasks, or the first of them."""
    unlisted: int = 0
    """How many more it runs."""

    @property
    def tasks(self) -> tuple[RunningTask, ...]:
        """All running tasks that are listed."""
        return self.others if self.task is None else (self.task, *self.others)

    @property
    def name(self) -> str:
        return f"{self.role} {self.index + 1}" if self.role == "worker" else self.role


@dataclass(frozen=True, slots=True, kw_only=True)
class ThroughputSlice:
    """What ended in a few seconds of the past. All durations are seconds."""

    number: int
    """Unix time divided by ``Throughput.step``."""
    done: int = 0
    failed: int = 0
    wait_median: float = 0.0
    """From being enqueued to the start."""
    wait_high: float = 0.0
    """The 95th percentile."""
    run_median: float = 0.0
    run_high: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """What a cluster has done since it was started, and lately."""

    done: int = 0
    """Runs that succeeded."""
    failed: int = 0
    """Runs that did not, whether they are tried again or not."""
    retried: int = 0
    """Runs that are followed by another one."""
    step: int = 5
    """Seconds of a slice."""
    slices: tuple[ThroughputSlice, ...] = ()
    """The last minutes, oldest first; a slice in which nothing ended is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterStatus:
    """One cluster at its last heartbeat."""

    id: str
    """A UUID, new with each start."""
    name: str
    """The namespace."""
    queues: tuple[str, ...]
    host: str
    pid: int
    """Process id of the sentinel."""
    state: str
    """``starting``, ``running``, ``stopping``, or ``lost``: its sentinel was killed."""
    started_at: float
    """Unix time, by the clock of its host, as all moments here."""
    published_at: float
    interval: float
    """Seconds until it will be heard again."""
    restarts: int = 0
    """How often a process has been replaced."""
    paused: tuple[str, ...] = ()
    """Queues from which it takes nothing."""
    in_flight: int = 0
    """Jobs that are leased and not acknowledged yet: prefetched, running, or waiting to be recorded."""
    unrecorded: int = 0
    """Outcomes that wait to be saved."""
    broker: str = ""
    """The kind of broker."""
    versions: Mapping[str, str]
    memory_total: int = 0
    """Kilobytes of its host; 0 = unknown."""
    memory_free: int = 0
    """Kilobytes that programs can still have there."""
    processes: tuple[ProcessStatus, ...] = ()
    throughput: Throughput = Throughput()
    age: float = 0.0
    """Seconds since its last heartbeat, filled in when it is read."""

    @property
    def patience(self) -> float:
        """Seconds of silence after which it counts as dead: three heartbeats, and some for a busy database."""
        return 3 * self.interval + 4.0

    @property
    def alive(self) -> bool:
        return self.state != LOST and self.age <= self.patience

    @property
    def lost_at(self) -> float | None:
        """Unix time of the last heartbeat of a lost cluster, by the clock of its host; None while it lives."""
        return None if self.alive else self.published_at

    @property
    def running(self) -> tuple[ProcessStatus, ...]:
        """The workers that run a task, or that ran one when the cluster was lost."""
        return tuple(worker for worker in self.workers if worker.task is not None)

    def runner_of(self, task_id: str) -> tuple[ProcessStatus, RunningTask] | None:
        """The worker that runs a task, with it; None where none of this cluster is known to."""
        found = ((worker, task) for worker in self.workers for task in worker.tasks if task.id == task_id)
        return next(found, None)

    @property
    def workers(self) -> tuple[ProcessStatus, ...]:
        return tuple(process for process in self.processes if process.role == "worker")

    @property
    def uptime(self) -> float:
        """Seconds since its start."""
        return max(0.0, self.published_at - self.started_at)

    def to_text(self) -> str:
        document = asdict(self)
        del document["age"]
        return json.dumps(document, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str, age: float = 0.0) -> ClusterStatus:
        """Understands what older and newer versions wrote as far as it goes."""
        document = json.loads(text)
        document["processes"] = tuple(_process(each) for each in document.get("processes", ()))
        throughput = _known(Throughput, document.get("throughput") or {})
        throughput["slices"] = tuple(
            ThroughputSlice(**_known(ThroughputSlice, each)) for each in throughput.get("slices", ())
        )
        document["throughput"] = Throughput(**throughput)
        for name in ("queues", "paused"):
            document[name] = tuple(document.get(name, ()))
        return replace(cls(**_known(cls, document)), age=age)


def _process(document: Mapping[str, Any]) -> ProcessStatus:
    known = _known(ProcessStatus, document)
    if known.get("task"):
        known["task"] = _running_task(known["task"])
    known["others"] = tuple(map(_running_task, known.get("others", ())))
    return ProcessStatus(**known)


def _running_task(document: Mapping[str, Any]) -> RunningTask:
    known = _known(RunningTask, document)
    if known.get("progress"):
        known["progress"] = TaskProgress(**_known(TaskProgress, known["progress"]))
    return RunningTask(**known)


def _known(kind: type[Any], document: Mapping[str, Any]) -> dict[str, Any]:
    names = {each.name for each in fields(kind)}
    return {name: value for name, value in document.items() if name in names}


class StatusStore:
    """The heartbeats of all clusters. Every verb raises ``StoreUnavailable`` when the database cannot be used."""

    def __init__(self, database: str | None = None) -> None:
        """``database``: alias; None asks the router."""
        self.database = database or router.db_for_write(Heartbeat)
        self._session = results_session(self.database)

    def publish(self, status: ClusterStatus) -> None:
        """One upsert. It is not worth waiting for: the next heartbeat says more."""
        self._session.run(lambda: self._publish(status), retry_seconds=0)

    def _publish(self, status: ClusterStatus) -> None:
        document = status.to_text()
        rows = self._rows().filter(pk=status.id)
        if not rows.update(heartbeat_at=DatabaseClock(), document=document):
            values = {"name": status.name, "host": status.host[:255], "pid": status.pid}
            self._rows().create(id=status.id, heartbeat_at=DatabaseClock(), document=document, **values)

    def all(self, *, dead: bool = False) -> list[ClusterStatus]:
        """The living clusters by name, host and start; with ``dead`` also those that were lost within a day."""
        found = self._session.read(lambda: list(self._aged(self._rows())))
        statuses = [status for status in found if dead or status.alive]
        return sorted(statuses, key=lambda status: (status.name, status.queues, status.host, status.started_at))

    def get(self, cluster_id: str) -> ClusterStatus | None:
        """What this cluster said last; None if it has stopped, or was never there."""
        return self._session.read(lambda: next(self._aged(self._rows().filter(pk=cluster_id)), None))

    def remove(self, cluster_id: str) -> None:
        """The cluster has stopped."""
        self._session.run(lambda: self._rows().filter(pk=cluster_id).delete(), retry_seconds=0)

    def prune(self, older_than: float = FORGET_AFTER_SECONDS) -> int:
        """Delete clusters that have been silent for ``older_than`` seconds, and their commands; returns how many.

        Pauses that ended as long ago are deleted, too.
        """
        return self._session.run(lambda: self._prune(int(older_than * MICROSECONDS)), retry_seconds=0)

    def _prune(self, silence: int) -> int:
        silent = self._rows().filter(heartbeat_at__lt=DatabaseClock() - silence)
        commands = OperatorCommand._default_manager.using(self.database).filter(verb=OperatorCommand.RESTART)
        commands.filter(given_at__lt=DatabaseClock() - silence).delete()
        OperatorCommand._default_manager.using(self.database).filter(until__lt=DatabaseClock() - silence).delete()
        return silent.delete()[0]

    @staticmethod
    def _aged(rows: QuerySet[Heartbeat]) -> Iterator[ClusterStatus]:
        aged = rows.annotate(age=DatabaseClock() - F("heartbeat_at"))
        for document, age in aged.values_list("document", "age"):
            yield ClusterStatus.from_text(document, max(0.0, age / MICROSECONDS))

    def _rows(self) -> QuerySet[Heartbeat]:
        return Heartbeat._default_manager.using(self.database)
