"""Runs that fail, run out of time or lose their worker because a test wants to see what follows.

Each function is a context manager. Inside of it, the run of the given number fails instead of calling the function::

    with fail_at(charge, 1, 2, error=ConnectionError("refused")):
        run_pending(until=timedelta(hours=1))

Everything else is real: what follows is decided by the options of the task and by the settings. Direct calls of the
function are not affected.
"""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, NamedTuple

from django_cluster.client.client import Client
from django_cluster.cluster.roles.worker_exit import WorkerExit, lost_outcomes
from django_cluster.core.codec import header_of
from django_cluster.core.import_paths import TaskLike, task_path
from django_cluster.core.messages import Job, Outcome, TaskHeader
from django_cluster.errors import TaskFailed, TaskTimeout
from django_cluster.lifecycle.fault_injection import FaultInjection

DEATH = ("WorkerLost", "The worker was killed by kill_worker_at.", "")


class InjectedFailure(Exception):
    """What a run raises by ``fail_at``, unless another error is given."""


class PlannedEnd(StrEnum):
    """How a run ends on purpose."""

    FAIL = "fail"
    TIME_OUT = "time out"
    KILL_WORKER = "kill worker"


class PlannedFault(NamedTuple):
    """Some runs of a function that end on purpose."""

    func: str
    """Dotted path."""
    attempts: tuple[int, ...]
    """The numbers of the runs; the first is 1."""
    kind: PlannedEnd
    error: BaseException | None = None
    """What a run raises; only of the kind ``FAIL``."""


class FaultPlan:
    """The faults that are planned in this process, and told to the workers of its cluster."""

    faults: ClassVar[list[PlannedFault]] = []
    owner: ClassVar[int] = 0
    """The process of the test."""
    shared_file: ClassVar[Path | None] = None
    """Where the workers of a cluster read the faults: they are other processes."""

    @classmethod
    def find(cls, func: str, attempt: int) -> PlannedFault | None:
        """The fault that was planned last for this run."""
        found = cls.faults if os.getpid() == cls.owner else cls._read()
        return next((each for each in reversed(found) if each.func == func and attempt in each.attempts), None)

    @classmethod
    def share(cls, file: Path | None) -> None:
        """Write the faults to a file whenever they change; None: to none any more."""
        cls.shared_file, cls.owner = file, os.getpid()
        cls._apply()

    @classmethod
    def change(cls, faults: list[PlannedFault]) -> None:
        """Replace the faults that are planned."""
        cls.faults, cls.owner = faults, os.getpid()
        cls._apply()

    @classmethod
    def _apply(cls) -> None:
        FaultInjection.before_call = inject if cls.faults or cls.shared_file is not None else None
        if cls.shared_file is not None:
            new = cls.shared_file.with_suffix(".new")
            new.write_bytes(pickle.dumps(cls.faults))
            new.replace(cls.shared_file)  # a worker reads the old faults or the new ones, never a part

    @classmethod
    def _read(cls) -> list[PlannedFault]:
        if cls.shared_file is None or not cls.shared_file.exists():
            return []
        found: list[PlannedFault] = pickle.loads(cls.shared_file.read_bytes())  # noqa: S301  written by the test itself
        return found


@contextmanager
def fail_at(
    func: TaskLike, *attempts: int, error: BaseException | type[BaseException] = InjectedFailure
) -> Iterator[None]:
    """Let these runs of a function raise ``error``, an exception or its class. Without numbers: the first run.

    ``Retry(…)``, ``Snooze(…)`` and ``Discard(…)`` are possible errors, too.
    """
    with _planned(PlannedFault(task_path(func), _numbers(attempts), PlannedEnd.FAIL, _instance(error))):
        yield


@contextmanager
def time_out_at(func: TaskLike, *attempts: int) -> Iterator[None]:
    """Let these runs of a function end as if they had exceeded their time limit. Without numbers: the first run."""
    with _planned(PlannedFault(task_path(func), _numbers(attempts), PlannedEnd.TIME_OUT)):
        yield


@contextmanager
def kill_worker_at(func: TaskLike, *attempts: int) -> Iterator[None]:
    """Let the worker die at these runs of a function. Without numbers: at the first run.

    A worker of a real cluster is killed by SIGKILL. ``run_pending`` in the test process records what a cluster would
    record then. Inline, where there is no worker, the task fails with ``TaskFailed``.
    """
    with _planned(PlannedFault(task_path(func), _numbers(attempts), PlannedEnd.KILL_WORKER)):
        yield


def inject(header: TaskHeader, attempt: int) -> None:
    """Raise, or kill this process, if that is planned for this run."""
    fault = FaultPlan.find(header.func, attempt)
    if fault is None:
        return
    if fault.kind is PlannedEnd.TIME_OUT:
        raise TaskTimeout("The time limit was exceeded by time_out_at.")
    if fault.kind is PlannedEnd.KILL_WORKER:
        if os.getpid() != FaultPlan.owner:
            os.kill(os.getpid(), signal.SIGKILL)
        raise TaskFailed("kill_worker_at: this task runs inline, and there is no worker that could die.")
    if fault.error is not None:
        raise fault.error.with_traceback(None)


def outcome_of_death(client: Client, job: Job) -> tuple[Outcome, BaseException] | None:
    """What a cluster would record if the worker died now, if that is planned for this run."""
    fault = FaultPlan.find(header_of(job.body).func, job.attempt) if FaultPlan.faults else None
    if fault is None or fault.kind is not PlannedEnd.KILL_WORKER:
        return None
    (outcome,) = lost_outcomes([job], WorkerExit(None), client.codec, "worker of a test")
    return outcome._replace(failure=DEATH), TaskFailed(DEATH[1])


@contextmanager
def _planned(fault: PlannedFault) -> Iterator[None]:
    FaultPlan.change([*FaultPlan.faults, fault])
    try:
        yield
    finally:
        FaultPlan.change([each for each in FaultPlan.faults if each is not fault])


def _numbers(attempts: tuple[int, ...]) -> tuple[int, ...]:
    for number in attempts:
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise ValueError(f"A run is named by its number, 1 for the first, not by {number!r}.")
    return attempts or (1,)


def _instance(error: BaseException | type[BaseException]) -> BaseException:
    if isinstance(error, type) and issubclass(error, BaseException):
        return error("injected by fail_at") if error is InjectedFailure else error()
    if isinstance(error, BaseException):
        return error
    raise TypeError(f"error is an exception or a class of exceptions, not {error!r}.")
