"""``current_task()``: what a running task can know of its own run, and keep for the next."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from django_cluster.core.signing import ValueSigner
from django_cluster.errors import ClusterError, ValueTooLarge

if TYPE_CHECKING:
    from django_cluster.core.messages import TaskHeader
    from django_cluster.core.settings import SigningSettings

MAX_CHECKPOINT_BYTES = 1 << 20
"""Most bytes of a checkpoint, as it is stored."""
CHECKPOINT = "checkpoint"
"""Among the options of an outcome: its task has a checkpoint. It is no option of a task, and stands in no row."""
NOT_READ = object()


class CheckpointPlace(Protocol):
    """Where checkpoints are kept. Raises ``StoreUnavailable``."""

    def save(self, task_id: str, sealed: bytes) -> None:
        """Keep this instead of what was kept before."""

    def load(self, task_id: str) -> bytes | None:
        """What was kept last; None if nothing was."""

    def forget(self, ids: Sequence[str]) -> None:
        """Nothing is kept of these tasks any more."""


def never() -> bool:
    """False."""
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnvironment:
    """What surrounds a run: the process, and what is kept of tasks."""

    is_cancelled: Callable[[], bool] = never
    should_stop: Callable[[], bool] = never
    checkpoints: CheckpointPlace | None = None
    signer: ValueSigner | None = None


class CurrentTask:
    """The task that runs here. ``current_task()`` returns it; what it says may change while the task runs."""

    __slots__ = ("_ends_at", "_environment", "_header", "_last", "attempt", "keeps_checkpoint", "queue")

    def __init__(
        self, header: TaskHeader, attempt: int, queue: str, ends_at: float | None, environment: RunEnvironment
    ) -> None:
        """``ends_at``: ``time.monotonic()`` at which the time limit is over; None: there is none."""
        self._header, self._ends_at, self._environment = header, ends_at, environment
        self._last: Any = NOT_READ
        self.attempt = attempt
        self.queue = queue
        self.keeps_checkpoint = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} attempt {self.attempt}>"

    def runs_concurrently(self, is_cancelled: Callable[[], bool]) -> None:
        """It is one of several tasks in its worker, and knows by itself whether it is cancelled."""
        self._environment = replace(self._environment, is_cancelled=is_cancelled)

    @property
    def id(self) -> str:
        """The task id: 32 hexadecimal digits."""
        return self._header.id

    @property
    def name(self) -> str:
        """The name of the task."""
        return self._header.name

    @property
    def func(self) -> str:
        """The dotted path of its function."""
        return self._header.func

    @property
    def enqueued_at(self) -> float:
        """Unix time at which it was sent, in seconds."""
        return self._header.enqueued_at

    @property
    def correlation_id(self) -> str:
        """What it has in common with all tasks that the same request has caused; its own id if it is the first."""
        return self._header.options.correlation_id or self._header.id

    @property
    def seconds_left(self) -> float | None:
        """Seconds until its time limit is over, at least 0; None: it has no limit."""
        return None if self._ends_at is None else max(0.0, self._ends_at - time.monotonic())

    @property
    def deadline(self) -> float | None:
        """Unix time at which its time limit is over; None: it has no limit."""
        left = self.seconds_left
        return None if left is None else time.time() + left

    @property
    def cancelled(self) -> bool:
        """Whether the task is being cancelled: it should end now. ``TaskCancelled`` was raised in it, or is about to
        be."""
        return self._environment.is_cancelled()

    @property
    def should_stop(self) -> bool:
        """Whether the task should leave early: it is being cancelled, or its worker is to stop.

        A worker stops with its cluster, and when it is restarted. A loop that looks may keep a checkpoint and raise
        ``Snooze(0)``: another worker continues.
        """
        return self._environment.should_stop() or self.cancelled

    @property
    def last_checkpoint(self) -> Any:
        """The value that this run, or an earlier run of the task, has kept last with ``checkpoint``; None if none has.

        Read from the database when it is asked for the first time. Raises ``PackageError`` if the value cannot be read
        any more, ``StoreUnavailable``.
        """
        if self._last is NOT_READ:
            place, signer = self._place()
            sealed = place.load(self.id)
            self.keeps_checkpoint = sealed is not None
            self._last = signer.loads(sealed, checkpoint_context(self.id))
        return self._last

    def checkpoint(self, value: Any) -> None:
        """Keep a value for the next run of this task, in place of the one before; None: keep nothing.

        It is written at once, in the database of the results, and survives whatever happens to the worker. It is part
        of a transaction that the task has open on that database, and lost with it. When the task has ended for good,
        the value is deleted. ``value``: what the serializer of the settings can carry, up to 1 MiB. Raises
        ``NotSerializable``, ``ValueTooLarge``, ``StoreUnavailable``.
        """
        place, signer = self._place()
        sealed = signer.dumps(value, checkpoint_context(self.id))
        if sealed is None:
            place.forget([self.id])
        elif len(sealed) > MAX_CHECKPOINT_BYTES:
            raise ValueTooLarge(f"The checkpoint has {len(sealed)} bytes, and may have {MAX_CHECKPOINT_BYTES}.")
        else:
            place.save(self.id, sealed)
            self.keeps_checkpoint = True
        self._last = value

    async def acheckpoint(self, value: Any) -> None:
        """``checkpoint`` for async code."""
        from asgiref.sync import sync_to_async

        await sync_to_async(self.checkpoint)(value)

    async def alast_checkpoint(self) -> Any:
        """``last_checkpoint`` for async code."""
        from asgiref.sync import sync_to_async

        return await sync_to_async(lambda: self.last_checkpoint)()

    def _place(self) -> tuple[CheckpointPlace, ValueSigner]:
        if self._environment.checkpoints is None or self._environment.signer is None:
            raise ClusterError("Nothing is kept of tasks here.")
        return self._environment.checkpoints, self._environment.signer


def checkpoint_signer(signing: SigningSettings) -> ValueSigner:
    """What signs checkpoints with the keys of these settings."""
    return ValueSigner(signing.secret, signing.fallbacks, signing.serializer)


def checkpoint_context(task_id: str) -> bytes:
    """To what a checkpoint belongs."""
    return b"checkpoint:" + task_id.encode("utf-8", "backslashreplace")


_current: ContextVar[CurrentTask | None] = ContextVar("django_cluster_current_task", default=None)
enter_run = _current.set
"""From now on this context is that of a run. The caller has made the context for it."""


def current_task() -> CurrentTask | None:
    """Return the task that is running here; None outside of a task: in a web process, a hook, a new thread.

    The function that runs as a task finds it, and whatever it calls or awaits.
    """
    return _current.get()
