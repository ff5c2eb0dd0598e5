"""What travels: ``TaskPackage`` → ``Job`` → ``Outcome``.

Three frozen values, one for each leg of the way. The *header* is the label on the parcel: everyone may
read it without opening the parcel, that is, without unpickling an argument.

All moments are Unix times in seconds (UTC); they become datetimes where a row is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, NamedTuple

from django_cluster.core.reprs import repr_of

NO_TIMEOUT = -1.0
"""The value of ``TaskOptions.timeout`` that means "no limit", whatever the cluster says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """How one task is to be treated. ``None`` always means: as the cluster's settings say."""

    hook: str | None = None
    """Dotted path, called with the saved ``Task`` when it has ended for good."""
    group: str | None = None
    save: bool | None = None
    """Whether a success leaves a row."""
    cached: bool | int | None = None
    """The result goes to the cache: for ever (True) or for so many seconds."""
    ack_failure: bool | None = None
    """A failed run is final."""
    timeout: float | None = None
    """Seconds; ``NO_TIMEOUT`` lifts the cluster's own limit."""
    max_attempts: int | None = None
    """Runs in total, the first included; 0 = no limit."""
    retry_delay: float | None = None
    """Seconds before the second run."""
    retry_backoff: float | str | None = None
    """Factor by which the delay grows from run to run; or "fixed", "linear", "exponential"."""
    retry_on: tuple[str, ...] = ()
    """Dotted paths of exceptions: only these (and their subclasses) are worth another run."""
    no_retry_on: tuple[str, ...] = ()
    """Dotted paths of exceptions that make a failure final."""
    priority: int = 0
    """-100 to 100; higher goes first."""
    not_before: float | None = None
    """Unix time before which the task may not run."""
    queue: str | None = None
    """The queue to which it is sent."""
    broker: str | None = None
    """The name, in ``brokers``, of the broker through which it goes."""
    schedule: int | None = None
    """The key of the schedule that waits for its end before it sends the next."""
    member: tuple[str, int, str] | tuple[str, int, str, bool] | None = None
    """Its place in a composition (``core.composing.Membership``)."""
    chain: tuple[str, ...] = field(default=(), repr=False)
    """The signed packages that follow, one after the other, when this one has succeeded."""

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


DEFAULT_OPTIONS = TaskOptions()
_OPTION_NAMES = frozenset(f.name for f in fields(TaskOptions))


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskHeader:
    """What everyone may know of a task without opening its arguments."""

    id: str
    name: str
    func: str
    """Dotted path of the function."""
    enqueued_at: float
    options: TaskOptions = DEFAULT_OPTIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPackage:
    """A call to be made: from the caller, over the broker, to the cluster."""

    header: TaskHeader
    args: tuple[Any, ...] = field(default=(), repr=False)
    kwargs: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def id(self) -> str:
        return self.header.id

    def with_options(self, **changes: Any) -> TaskPackage:
        """The same package with other options."""
        header = self.header
        return replace(self, header=replace(header, options=replace(header.options, **changes)))

    def with_id(self, task_id: str, name: str) -> TaskPackage:
        """The same package under another id and name."""
        return replace(self, header=replace(self.header, id=task_id, name=name))


class Job(NamedTuple):
    """A delivery whose signature has been verified: from the pusher to a worker."""

    number: int
    """Unique in the life of a cluster, growing in the order of handing out."""
    body: bytes
    """The verified package, still closed (see ``Codec.open``)."""
    receipt: str
    attempt: int
    """Which run this is, counted by the broker when it leased the message; the first is 1."""
    queue: str = ""
    """The queue from which it was leased; in sync mode, the queue of the client."""

    def __repr__(self) -> str:
        return repr_of(self, "number", "receipt", "attempt", "queue")


class OutcomeStatus(StrEnum):
    """How one run ended."""

    SUCCESS = "success"
    FAILURE = "failure"
    """The task raised."""
    TIMEOUT = "timeout"
    """It overran its limit and was stopped, by the soft or the hard way."""
    LOST = "lost"
    """The process under it died."""
    REJECTED = "rejected"
    """It could never be run: unreadable, unknown function, foreign signature."""
    DEAD = "dead"
    """Put aside for good: process after process died under it."""
    DISCARDED = "discarded"
    """The task gave itself up."""
    SNOOZED = "snoozed"
    """The task asked to be run later; no run was counted, and no row says so."""
    DUPLICATE = "duplicate"
    """A message of a task that had succeeded before: nothing was run, and no row says so."""


class RetryHint(StrEnum):
    """What a run says about the next one."""

    NONE = ""
    """As the settings and options say."""
    RETRY = "retry"
    """Try again, whatever ``ack_failures`` says."""
    SNOOZE = "snooze"
    """Run again, and do not count this run."""
    STOP = "stop"
    """Do not try again."""


def path_of_class(kind: type) -> str:
    """How exceptions are named in options and rows: dotted, the built-in ones by their bare name."""
    return f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")


class FailureDetails(NamedTuple):
    """Why a run did not succeed: text, never the exception itself."""

    kind: str
    """Dotted path of the exception class, or a word such as ``signal``."""
    message: str
    traceback: str = ""

    def __repr__(self) -> str:
        return repr_of(self, "kind")

    @property
    def plain(self) -> tuple[str, str, str]:
        """As an ``Outcome`` carries it: an exact tuple, which the lines between processes demand."""
        return (self.kind, self.message, self.traceback)


class Outcome(NamedTuple):
    """How a job ended: from a worker to the monitor.

    Only plain values (the lines between processes carry nothing else), so the monitor never unpickles:
    ``arguments`` and ``result`` are sealed bytes that go into the row as they are.
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
    """The signed package as it came, kept for a run that can never be made, or that is to be made later."""
    final: bool = True
    """False: it will be tried again (set by the recorder before saving)."""
    retry_hint: str = ""
    """A value of ``RetryHint``."""
    delay: float | None = None
    """Seconds until the next run, where the task itself named them."""
    queue: str = ""
    """The queue from which the task was leased: ``Job.queue``."""

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
