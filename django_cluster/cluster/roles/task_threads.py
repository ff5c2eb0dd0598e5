"""Threads for the synchronous code of coroutines: what ``sync_to_async`` and the async ORM call.

Each task has one thread for it, as each request of an ASGI server has, and with the thread database connections of its
own. Threads, and their connections, are used again by later tasks. At most ``MAX_THREADS`` exist, because each may hold
a connection to every database: where more tasks than that use them at the same time, some share a thread.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

MAX_THREADS = 20
CLEAN_UP_SECONDS = 5.0
"""Seconds for which the end of a task waits until its thread has tidied its connections."""


def receive_no_signals() -> None:
    """Signals are for the main thread, which may be running a task whose time limit is one."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


class TaskThread:
    """One thread, and how many tasks use it."""

    def __init__(self) -> None:
        self.executor = ThreadPoolExecutor(max_workers=1, initializer=receive_no_signals)
        self.tasks = 0


class TaskThreads:
    """The threads of one worker. Used by the thread of its event loop alone."""

    def __init__(self, clean_up: Callable[[], object], limit: int = MAX_THREADS) -> None:
        """``clean_up``: called in a thread after each task that has used it."""
        self.clean_up = clean_up
        self._limit = limit
        self._threads: list[TaskThread] = []

    def take(self) -> TaskThread:
        """The thread that the fewest tasks use."""
        thread = min(self._threads, key=lambda each: each.tasks, default=None)
        if thread is None or (thread.tasks and len(self._threads) < self._limit):
            thread = TaskThread()
            self._threads.append(thread)
        thread.tasks += 1
        return thread

    def close(self) -> None:
        for thread in self._threads:
            thread.executor.shutdown(wait=False, cancel_futures=True)


class LeasedThread(Executor):
    """The thread of one task, taken when the task uses it for the first time."""

    def __init__(self, threads: TaskThreads) -> None:
        self._threads = threads
        self._thread: TaskThread | None = None

    def submit(self, func: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Call a function in the thread."""
        if self._thread is None:
            self._thread = self._threads.take()
        return self._thread.executor.submit(func, *args, **kwargs)

    async def give_back(self) -> bool:
        """The task has ended: tidy its connections. Returns False where the thread is still busy with its code."""
        thread = self._thread
        if thread is None:
            return True
        cleaned = asyncio.get_running_loop().run_in_executor(thread.executor, self._threads.clean_up)
        done, _ = await asyncio.wait({cleaned}, timeout=CLEAN_UP_SECONDS)
        if done:
            thread.tasks -= 1
        return bool(done)
