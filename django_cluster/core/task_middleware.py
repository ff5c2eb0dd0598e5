"""The base class of middleware: code of the project around the sending and the running of every task."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from django_cluster.core.messages import TaskPackage


class TaskMiddleware:
    """The base class of what ``Q_CLUSTER["middleware"]`` lists. Overwrite what is needed; the rest is never called.

    A process makes one object of each class, without arguments, when it first needs it. The first of the list is the
    outermost.
    """

    def before_send(self, task: TaskPackage) -> TaskPackage | None:
        """Called in the process that sends, before the task is signed.

        Return another package to be sent instead (``dataclasses.replace(task, kwargs={…})``), or None. Id, queue and
        broker stay as they are. An exception refuses the task: nothing is sent, and the caller gets ``SendRefused``.
        """
        return None

    def around_run(self, task: TaskPackage, attempt: int, call_next: Callable[[], Any]) -> Any:
        """Called in the worker instead of the function: return what ``call_next()`` returns, or another result.

        ``attempt``: which run this is; the first is 1. An exception is the failure of the task, as if its function had
        raised it, and the time limit of the task includes this method.
        """
        return call_next()

    async def around_async_run(self, task: TaskPackage, attempt: int, call_next: Callable[[], Awaitable[Any]]) -> Any:
        """Called in the worker for a function that is declared with ``async def``, instead of ``around_run``."""
        return await call_next()
