"""The values that are passed from process to process: ``TaskPackage`` → ``Job`` → ``Outcome``.

A ``TaskPackage`` goes from the caller over the broker to the pusher, a ``Job`` from the pusher to a worker, an
``Outcome`` from the worker to the monitor. All are frozen. The *header* of a package can be read without loading its
arguments.

All moments are Unix times in seconds (UTC); they become datetimes where a row is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, NamedTuple

from django_cluster.core.reprs import repr_of

NO_TIMEOUT = -1.0
"""The value of ``TaskOptions.timeout`` that means "no limit", whatever the setting ``timeout`` is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """The options of one task. ``None`` always means: the value of the setting."""

    hook: str | None = None
    """Dotted path of a function that is called with the saved ``Task`` after its last run."""
    group: str | None = None
    save: bool | None = None
    """Whether a success leaves a row."""
    cached: bool | int | None = None
    """Whether the result is written to the cache: without expiry (True), or for this number of seconds."""
    ack_failure: bool | None = None
    """Whether a failed run is final."""
    timeout: float | None = None
    """Time limit in seconds; ``NO_TIMEOUT`` removes the limit of the settings."""
    max_attempts: int | None = None
    """Runs in total, the first included; 0 = no limit."""
    retry_delay: float | None = None
    """Seconds before the second run."""
    retry_backoff: float | str | None = None
    """Factor by which the delay grows from run to run; or "fixed", "linear", "exponential"."""
    retry_on: tuple[str, ...] = ()
    """Dotted paths of exceptions: only after these, and their subclasses, the task is retried."""
    no_retry_on: tuple[str, ...] = ()
    """Dotted paths of exceptions after which the task is not retried."""
    priority: int = 0
    """From -100 to 100; tasks with a higher number run first."""
    not_before: float | None = None
    """Unix time before which the task may not run."""
    expires_at: float | None = None
    """Unix time from which no run of it begins any more; what has not begun by then ends as expired."""
    queue: str | None = None
    """The queue to which it is sent."""
    broker: str | None = None
    """The name, in the setting ``brokers``, of the broker over which the task is sent."""
    schedule: int | None = None
    """The primary key of the schedule that waits for the end of this task before it sends the next."""
    member: tuple[str, int, str] | tuple[str, int, str, bool] | None = None
    """Its place in a composition (``core.compositions.Membership``)."""
    correlation_id: str | None = None
    """What it has in common with the tasks that belong to the same request; None: its own id."""
    traceparent: str | None = None
    """The W3C ``traceparent`` of the code that has sent it, whose trace id is ``correlation_id``."""
    earlier_runs: int = 0
    """Runs that its row knows from before an operator retried it under the same id; a broker counts anew."""
    chain: tuple[str, ...] = field(default=(), repr=False)
    """The signed packages of the rest of a chain, in order."""
    extra: Mapping[str, Any] | None = field(default=None, repr=False)
    """What receivers of Django-Q's ``pre_enqueue`` have put beside the options, as ``core.json_values`` writes it."""
    track: bool | None = None
    """Whether the task has a row from the moment at which it is sent (``models.TrackedTask``)."""
    backend: str | None = None
    """The alias in ``TASKS`` under which it was enqueued by Django's Tasks framework. Such a task is tracked."""

    @property
    def tracked(self) -> bool:
        """Whether the task has a row from the moment at which it is sent."""
        return self.backend is not None or bool(self.track)

    def to_wire(self) -> dict[str, Any]:
        """The options that differ from their defaults."""
        if self is DEFAULT_OPTIONS:
            return {}
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) != f.default}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> TaskOptions:
        """The inverse of ``to_wire``; options of a newer version are ignored."""
        if not wire:
            return DEFAULT_OPTIONS
        known: dict[str, Any] = {name: value for name, value in wire.items() if name in _OPTION_NAMES}
        for name in ("retry_on", "no_retry_on", "member", "chain"):  # JSON knows no tuples
            if name in known:
                known[name] = tuple(known[name])
        return cls(**known)


def is_tracked(options: Mapping[str, Any]) -> bool:
    """``TaskOptions.tracked`` of options in the form of ``TaskOptions.to_wire``."""
    return bool(options) and ("backend" in options or bool(options.get("track")))


DEFAULT_OPTIONS = TaskOptions()
_OPTION_NAMES = frozenset(f.name for f in fields(TaskOptions))


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskHeader:
    """What can be read of a task without loading its arguments."""

    id: str
    name: str
    func: str
    """Dotted path of the function."""
    enqueued_at: float
    options: TaskOptions = DEFAULT_OPTIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPackage:
    """A function to be called, with its arguments: sent from the caller over the broker to the pusher."""

    header: TaskHeader
    args: tuple[Any, ...] = field(default=(), repr=False)
    kwargs: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def id(self) -> str:
        return self.header.id

    def with_options(self, **changes: Any) -> TaskPackage:
        """A copy of the package with other options."""
        header = self.header
        return replace(self, header=replace(header, options=replace(header.options, **changes)))

    def with_id(self, task_id: str, name: str) -> TaskPackage:
        """A copy of the package with another id and name."""
        return replace(self, header=replace(self.header, id=task_id, name=name))


class Job(NamedTuple):
    """A delivery whose signature has been verified: from the pusher to a worker."""

    number: int
    """Unique in a cluster until it stops; ascending in the order in which jobs are assigned."""
    body: bytes
    """The verified package, not loaded (see ``Codec.open``)."""
    receipt: str
    attempt: int
    """Which run this is, counted by the broker when it leased the message; the first is 1."""
    queue: str = ""
    """The queue from which it was leased; in sync mode, the queue of the client."""
    again: bool = False
    """Whether another worker had it in the same lease, and has not begun it."""

    def __repr__(self) -> str:
        return repr_of(self, "number", "receipt", "attempt", "queue")


class OutcomeStatus(StrEnum):
    """How one run ended."""

    SUCCESS = "success"
    FAILURE = "failure"
    """The task raised."""
    TIMEOUT = "timeout"
    """The task exceeded its time limit, and was ended by an exception or with its worker."""
    LOST = "lost"
    """The worker died while it ran the task."""
    REJECTED = "rejected"
    """The task can never run: undecodable, unknown function, wrong signature."""
    DEAD = "dead"
    """The task is not run again: ``max_worker_deaths`` workers died while they ran it."""
    DISCARDED = "discarded"
    """The task raised ``Discard``."""
    CANCELLED = "cancelled"
    """The task was cancelled, before it began or while it ran."""
    EXPIRED = "expired"
    """No run had begun by the moment that its option ``expires`` names."""
    SNOOZED = "snoozed"
    """The task raised ``Snooze``: it runs later, uses no attempt, and has no row for this run."""
    DUPLICATE = "duplicate"
    """The message of a task that had succeeded already: nothing was run, and no row is written."""


KILLED_FOR_TIMEOUT = "The task overran its time limit and did not stop; its worker was killed."
"""How the message of a ``TIMEOUT`` begins whose worker was killed, and could report no exception."""


class RetryHint(StrEnum):
    """What a run demands about a next run."""

    NONE = ""
    """The options and settings decide."""
    RETRY = "retry"
    """Retry, whatever ``ack_failures`` is."""
    SNOOZE = "snooze"
    """Retry without using an attempt."""
    STOP = "stop"
    """Do not run again."""


def path_of_class(kind: type) -> str:
    """The name of a class in options and rows: its dotted path, without ``builtins.``."""
    return f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")


class FailureDetails(NamedTuple):
    """Why a run failed, as text."""

    kind: str
    """Dotted path of the exception class, or a word such as ``signal``."""
    message: str
    traceback: str = ""

    def __repr__(self) -> str:
        return repr_of(self, "kind")

    @property
    def plain(self) -> tuple[str, str, str]:
        """The fields as a plain tuple, which ``Outcome.failure`` holds: the protocol between processes knows no
        subclasses."""
        return (self.kind, self.message, self.traceback)


class TrackedEnd(NamedTuple):
    """How a run of a tracked task ended, for its row; the worker leaves the writing to the monitor."""

    attempt: int
    """The fence: the number of the run (``TrackedTask.attempt``)."""
    called_at: float
    """Unix time at which the run really began: its row may have said so a moment earlier."""
    finished_at: float
    """Unix time."""
    errors: str | None = None
    """All errors of the task as JSON, if this run has added one."""
    return_value: str | None = None
    """What a task of Django's framework has returned, as JSON."""

    def __repr__(self) -> str:
        return repr_of(self, "attempt", "called_at", "finished_at")

    @property
    def plain(self) -> tuple[Any, ...]:
        """The fields as a plain tuple, which ``Outcome.tracked_end`` holds."""
        return tuple(self)


class Outcome(NamedTuple):
    """How a job ended: from a worker to the monitor.

    All fields are plain values, so that the monitor never unpickles: ``arguments`` and ``result`` are signed bytes,
    which are saved as they are.
    """

    number: int
    receipt: str
    attempt: int
    id: str
    name: str
    func: str
    options: dict[str, Any]
    """``TaskOptions.to_wire()``."""
    enqueued_at: float
    started_at: float
    stopped_at: float
    status: str
    """A value of ``OutcomeStatus``."""
    worker: str
    arguments: bytes | None = None
    result: bytes | None = None
    failure: tuple[str, str, str] | None = None
    """The fields of ``FailureDetails``."""
    payload: str | None = None
    """The signed package, for a task that is rejected or will run later."""
    final: bool = True
    """Whether this was the last run. The recorder sets it before the outcome is saved."""
    retry_hint: str = ""
    """A value of ``RetryHint``."""
    delay: float | None = None
    """Seconds until the next run, if the task has chosen them."""
    queue: str = ""
    """The queue from which the task was leased: ``Job.queue``."""
    tracked_end: tuple[Any, ...] | None = None
    """The fields of ``TrackedEnd``, if the row of a tracked task does not say yet how the run ended."""
    post_mortem: bytes | None = None
    """``PostMortem.packed()`` of a run that failed."""

    @property
    def correlation_id(self) -> str:
        """What the task has in common with the tasks that belong to the same request; by default its own id."""
        found: str | None = self.options.get("correlation_id")
        return found or self.id

    @classmethod
    def of(
        cls,
        job: Job,
        header: TaskHeader,
        status: OutcomeStatus,
        *,
        started_at: float,
        stopped_at: float,
        worker: str,
        **more: Any,
    ) -> Outcome:
        """The outcome of one run of this job; ``more``: the fields that have a default."""
        return cls(
            number=job.number,
            receipt=job.receipt,
            attempt=job.attempt,
            queue=job.queue,
            id=header.id,
            name=header.name,
            func=header.func,
            options=header.options.to_wire(),
            enqueued_at=header.enqueued_at,
            started_at=started_at,
            stopped_at=stopped_at,
            status=status.value,
            worker=worker,
            **more,
        )

    def __repr__(self) -> str:
        names = ("number", "attempt", "id", "name", "func", "status", "worker", "final", "retry_hint", "delay", "queue")
        return repr_of(self, *names)
