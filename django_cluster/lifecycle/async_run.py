"""The second half of the run of an ``async def`` task: its coroutine, awaited within its time limit.

The executor has done the first half: it has opened the package, and called the function.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING, Any, NamedTuple

from asgiref.sync import async_to_sync

from django_cluster.core.cancel_requests import CancelRequest
from django_cluster.core.current_task import CurrentTask
from django_cluster.core.messages import Job, Outcome, TaskHeader, TaskPackage
from django_cluster.errors import TaskCancelled, TaskTimeout

if TYPE_CHECKING:
    from django_cluster.lifecycle.executor import Executor
    from django_cluster.lifecycle.tracking import TrackedRun


class PendingCall(NamedTuple):
    """A function that was called, and has returned a coroutine."""

    coroutine: Coroutine[Any, Any, Any]
    func: Callable[..., Any]
    package: TaskPackage
    tracked: TrackedRun | None
    context: Context
    """In which the coroutine is to run."""
    current: CurrentTask | None = None
    """What ``current_task()`` returns there."""


class AsyncRun:
    """One run of an ``async def`` task."""

    def __init__(
        self,
        executor: Executor,
        job: Job,
        header: TaskHeader,
        arguments: bytes,
        call: PendingCall,
        started_at: float,
        deadline: float | None,
        limit: float | None,
    ) -> None:
        """``started_at``: Unix time. ``deadline``: ``time.monotonic()``. ``limit``: seconds of the whole run."""
        self.job, self.header, self.arguments, self.call = job, header, arguments, call
        self.started_at, self.deadline, self.limit = started_at, deadline, limit
        self._executor = executor
        self.awaitable: Awaitable[Any] = call.coroutine
        """What is awaited: the coroutine, or something around it."""
        self.awaiting = False
        """Whether the coroutine has begun and has not ended."""
        self.is_cancelled = False
        """Whether it was cancelled by request, while it ran."""
        if call.current is not None:
            call.current.runs_concurrently(lambda: self.is_cancelled)

    def cancel_request(self) -> CancelRequest | None:
        """The request to cancel the task, if there is one. May ask the database."""
        return self._executor.cancel_request(self.header)

    def concludes_slowly(self, error: BaseException | None) -> bool:
        """Whether ``conclude`` may wait for a server, or calls code of the project: not to be called on a loop."""
        return self._executor.concludes_slowly(self, error)

    async def awaited(self) -> tuple[Any, BaseException | None]:
        """What the coroutine returns, or what it raises; ``TaskTimeout`` where its limit has ended it."""
        self.awaiting = True
        try:
            if self.deadline is None:
                return await self.awaitable, None
            async with asyncio.timeout(max(0.0, self.deadline - time.monotonic())) as timer:
                return await self.awaitable, None
        except TimeoutError as error:
            return None, self._overrun(error) if timer.expired() else error
        except BaseException as error:  # noqa: BLE001  SystemExit and CancelledError are the task's failure, not ours
            return None, self._cancellation(error) if self.is_cancelled else error
        finally:
            self.awaiting = False

    def _cancellation(self, error: BaseException) -> TaskCancelled:
        failure = TaskCancelled()
        failure.__cause__ = error  # it shows where the coroutine was
        return failure

    def _overrun(self, error: TimeoutError) -> TaskTimeout:
        failure = TaskTimeout(f"The task ran longer than its limit of {self.limit:g} seconds.")
        failure.__cause__ = error.__cause__ or error  # it shows where the coroutine was
        return failure

    def run_here(self) -> Outcome:
        """Run the coroutine to its end, in this thread, which runs no loop."""

        async def awaited() -> tuple[Any, BaseException | None]:
            return await self.awaited()

        return self.conclude(*self.call.context.run(async_to_sync(awaited)))

    def conclude(self, value: Any, error: BaseException | None) -> Outcome:
        """The outcome, after the receivers and reporters were told and the row of a tracked task was written."""
        return self._executor.conclude(self, value, error)


def run_here(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end, in this thread."""

    async def awaited() -> Any:
        return await coroutine

    try:
        return async_to_sync(awaited)()
    finally:
        with suppress(RuntimeError, ValueError):
            coroutine.close()  # where a loop runs in this thread, nothing was awaited
