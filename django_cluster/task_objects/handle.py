"""What sending a task object returns: the task's id, which can be asked how the task is doing."""

from __future__ import annotations

import time
from collections.abc import Generator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from asgiref.sync import sync_to_async

from django_cluster.client.async_calls import poll
from django_cluster.client.results import fetch, tracked_status
from django_cluster.control import CancelResult, cancel, progress_of, retry
from django_cluster.core.messages import TaskHeader
from django_cluster.core.task_progress import TaskProgress
from django_cluster.core.task_status import TaskStatus, status_after
from django_cluster.errors import NotFinished
from django_cluster.stores.base import UNFINISHED, Unfinished, wait_for
from django_cluster.task_objects.raised import raised_by

if TYPE_CHECKING:
    from django_cluster.models import Task

R_co = TypeVar("R_co", covariant=True)


class TaskHandle(str, Generic[R_co]):
    """The id of a task that was sent, as a str, with what can be asked and done about it.

    It can be pickled, stored as a text, and given to all functions that take a task id.
    """

    __slots__ = ("_row", "broker", "not_before", "queue", "tracked")

    queue: str | None
    """The queue into which it was sent; None = the one that ``Q_CLUSTER["name"]`` names."""
    not_before: float | None
    """Unix time before which it may not run; None = at any time."""
    broker: str | None
    """The name, in ``brokers``, of the broker through which it was sent; None = that of the queue."""
    tracked: bool
    """Whether the task was sent with the option ``track``."""
    _row: Task | None

    def __new__(
        cls,
        task_id: str,
        queue: str | None = None,
        not_before: float | None = None,
        broker: str | None = None,
        tracked: bool = False,
    ) -> Self:
        handle = super().__new__(cls, task_id)
        handle.tracked = tracked
        handle.queue, handle.not_before, handle.broker, handle._row = queue, not_before, broker, None
        return handle

    @classmethod
    def of(cls, header: TaskHeader) -> Self:
        """The handle of a task that was sent with this header."""
        options = header.options
        return cls(header.id, options.queue, options.not_before, options.broker, options.tracked)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.queue, self.not_before, self.broker, self.tracked)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"

    @property
    def id(self) -> str:
        """The task id: 32 hexadecimal digits."""
        return str(self)

    job_id = message_id = id
    """Other task queues' words for ``id``."""

    @property
    def task(self) -> Task | None:
        """The row of the task; None while it has not been run, and if its results are not kept.

        A row that says that the task has ended is read once; see ``refresh``.
        """
        if self._row is None or not self._row.final:
            self._row = fetch(self)
        return self._row

    def refresh(self) -> Self:
        """Forget what was read, so that the next question looks anew; returns the handle itself."""
        self._row = None
        return self

    @property
    def status(self) -> TaskStatus:
        """How the task is doing now. A task whose results are not kept counts as queued forever, unless it is tracked.

        Only of a tracked task it is known whether it is running.
        """
        row = self.task
        if (row is None or not row.final) and (known := tracked_status(str(self), self.tracked)) is not None:
            return known
        if row is not None:
            return status_after(row.status, final=row.final)
        waits = self.not_before is not None and self.not_before > time.time()
        return TaskStatus.SCHEDULED if waits else TaskStatus.QUEUED

    @property
    def progress(self) -> TaskProgress | None:
        """How far the task was at the last heartbeat of its cluster, if it has said so with ``progress``.

        None while it does not run, and after its end.
        """
        return progress_of(str(self))

    def wait(self, timeout: float | timedelta | None = None) -> Task:
        """Wait until the task has ended, and return its row.

        ``timeout``: seconds; None = as long as it takes, 0 = not at all. Raises ``NotFinished`` when it has passed.
        """
        limit = seconds_of(timeout)
        wait_for(self._look, -1 if limit is None else limit * 1000)
        return self._ended(limit)

    def result(self, timeout: float | timedelta | None = None) -> R_co:
        """Wait as ``wait``, and return what the function returned.

        Raises what the function raised, if that is an exception of a class that this process has imported; else
        ``TaskFailed``. ``NotFinished`` when the timeout has passed, ``PackageError`` for a result that cannot be read.
        """
        return self._value(self.wait(timeout))

    def retry(self) -> TaskHandle[R_co]:
        """Run the finished task again; returns the handle of the new run, which has a new id.

        Raises ``NotFinished`` while there is no row of it, and whatever ``django_cluster.control.retry`` raises.
        """
        if (row := self.refresh().task) is None:
            raise NotFinished(f"Task {self} has not finished: there is nothing to run again.")
        return TaskHandle(retry(row), self.queue, broker=self.broker)

    def cancel(self, *, by: str = "") -> CancelResult:
        """Cancel the task, wherever it waits or runs; the result is false in a condition if it had ended.

        A running task is told within a second. ``wait`` returns when it has ended. See
        ``django_cluster.control.cancel``.
        """
        return cancel(str(self), self.queue, self.broker, by=by)

    async def await_task(self, timeout: float | timedelta | None = None) -> Task:
        """``wait`` for async code: no thread is blocked between two looks."""
        limit = seconds_of(timeout)
        await poll(sync_to_async(self._look), limit)
        return self._ended(limit)

    async def aresult(self, timeout: float | timedelta | None = None) -> R_co:
        """``result`` for async code."""
        row = await self.await_task(timeout)
        return await sync_to_async(self._value)(row)

    def __await__(self) -> Generator[Any, None, Task]:
        """``row = await handle``: wait until the task has ended."""
        return self.await_task().__await__()

    def _look(self) -> Task | Unfinished:
        row = self.task
        return row if row is not None and row.final else UNFINISHED

    def _ended(self, limit: float | None) -> Task:
        if self._row is None or not self._row.final:
            raise NotFinished(f"Task {self} has not finished within {limit or 0:g} seconds.")
        return self._row

    def _value(self, row: Task) -> R_co:
        if not row.success:
            raise raised_by(row)
        value: R_co = row.result
        return value


def seconds_of(timeout: float | timedelta | None) -> float | None:
    """A timeout in seconds. Raises ``ValueError`` for a negative one."""
    limit = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    if limit is not None and limit < 0:
        raise ValueError(f"A timeout is a number of seconds, or None for as long as it takes, not {timeout!r}.")
    return limit
