"""The event loop of a worker: a thread that runs the coroutines of ``async def`` tasks beside the main thread.

The main thread talks to pusher and monitor, and runs plain tasks. So a plain task delays no coroutine, a coroutine that
blocks the loop does not silence the worker, and the signal that ends a plain task in time reaches no coroutine.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

from asgiref.sync import SyncToAsync, ThreadSensitiveContext, sync_to_async

from django_cluster.cluster.roles.task_threads import LeasedThread, TaskThreads, receive_no_signals
from django_cluster.core.messages import Outcome
from django_cluster.lifecycle.async_run import AsyncRun

STRAY_SECONDS = 1.0
"""Seconds for asyncio tasks to end that a task has left running."""
JOIN_SECONDS = 1.0
"""Seconds for the loop to end when its worker does."""


class LoopRun:
    """A run on the loop, and the asyncio tasks that it has made."""

    def __init__(self, run: AsyncRun, slot: int) -> None:
        self.run, self.slot = run, slot
        self.task: asyncio.Task[None] | None = None
        self.children: set[asyncio.Task[Any]] = set()
        self.outcome: Outcome | None = None
        self.checked_cancels = 0
        """The version of the cancelled tasks with which it was compared last."""
        self.leftover = ""
        """What has not ended with the task, in words."""


current_run: ContextVar[LoopRun | None] = ContextVar("django_cluster_loop_run", default=None)
"""The run to which the code belongs that asks."""
Finished = Callable[[LoopRun, Outcome], None]


class EventLoop:
    """Runs coroutines, in a thread of its own, until ``close``."""

    def __init__(self, finished: Finished, clean_up: Callable[[], object]) -> None:
        """``finished``: called on the loop for each run that has ended. ``clean_up``: called in the threads of
        ``sync_to_async`` after each task that has used them."""
        self._finished = finished
        self._threads = TaskThreads(clean_up)
        self._new: deque[LoopRun] = deque()
        self._waking = False
        self._closing = False
        self.runs: dict[asyncio.Task[Any], LoopRun] = {}
        """Every unfinished asyncio task that belongs to a run."""
        self.loop = new_loop()
        self.loop.set_task_factory(self._make_task)  # type: ignore[arg-type]  # its type differs by version
        self.thread = threading.Thread(target=self._serve, name="django_cluster event loop", daemon=True)
        self.thread.start()

    def submit(self, run: LoopRun) -> None:
        """Run a coroutine. Called by the main thread."""
        self._new.append(run)
        if not self._waking:
            self._waking = True
            self.loop.call_soon_threadsafe(self._start_new)

    def cancel(self, run: LoopRun) -> None:
        """Cancel a run, by request. Called by another thread."""
        self.loop.call_soon_threadsafe(self._cancel, run)

    def close(self) -> None:
        """Stop the loop. Nothing runs on it any more, but what tasks have left behind."""
        self._closing = True
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(JOIN_SECONDS)
        self._threads.close()

    def stack(self, run: LoopRun) -> str:
        """Where a run is. Called by another thread."""
        if self.current() is run:
            frame = sys._current_frames().get(self.thread.ident or 0)
            return "".join(traceback.format_stack(frame)) if frame is not None else ""
        frames: list[str] = []
        awaited: Any = run.run.call.coroutine
        while awaited is not None:
            frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
            if frame is None:
                break
            frames += traceback.format_list(traceback.extract_stack(frame, limit=1))
            awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
        return "".join(frames)

    def current(self) -> LoopRun | None:
        """The run whose code the loop executes at this moment. Called by another thread."""
        task = asyncio.current_task(self.loop)
        return self.runs.get(task) if task is not None else None

    # ── in the thread of the loop ────────────────────────────────────────────────────────────────

    def _serve(self) -> None:
        receive_no_signals()
        asyncio.set_event_loop(self.loop)
        while not self._closing:
            try:
                self.loop.run_forever()
            except BaseException:  # noqa: BLE001, S112  SystemExit of an asyncio task that a task has made
                continue

    def _start_new(self) -> None:
        self._waking = False
        while self._new:
            run = self._new.popleft()
            context = run.run.call.context
            context.run(current_run.set, run)
            run.task = self.loop.create_task(self._run(run), context=context)

    def _cancel(self, run: LoopRun) -> None:
        if run.run.awaiting and run.task is not None and not run.run.is_cancelled:
            run.run.is_cancelled = True
            run.task.cancel()

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **options: Any
    ) -> asyncio.Task[Any]:
        """Make an asyncio task, and note to which run it belongs."""
        context = options.get("context")
        run = current_run.get() if context is None else context.get(current_run)
        task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
        if run is not None:
            self.runs[task] = run
            run.children.add(task)
            task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        run = self.runs.pop(task, None)
        if run is None:
            return
        run.children.discard(task)
        if task is run.task and run.outcome is None:
            # Something has cancelled the task while its end was being written.
            error = None if task.cancelled() else task.exception()
            self._end(run, run.run.conclude(None, error or asyncio.CancelledError()))

    async def _run(self, run: LoopRun) -> None:
        thread, context = LeasedThread(self._threads), ThreadSensitiveContext()
        SyncToAsync.thread_sensitive_context.set(context)
        SyncToAsync.context_to_thread_executor[context] = thread
        value, error = await run.run.awaited()
        if len(run.children) > 1:
            await self._end_children(run)
        if run.run.concludes_slowly(error):
            outcome = await sync_to_async(run.run.conclude)(value, error)
        else:
            outcome = run.run.conclude(value, error)
        SyncToAsync.context_to_thread_executor.pop(context, None)
        if not await thread.give_back():
            run.leftover = "a thread"
        self._end(run, outcome)

    async def _end_children(self, run: LoopRun) -> None:
        """Cancel what the task has left running on the loop."""
        strays = run.children - {run.task}
        for each in strays:
            each.cancel()
        _, alive = await asyncio.wait(strays, timeout=STRAY_SECONDS)
        if alive:
            run.leftover = "an asyncio task"

    def _end(self, run: LoopRun, outcome: Outcome) -> None:
        run.outcome = outcome
        self._finished(run, outcome)


def new_loop() -> asyncio.AbstractEventLoop:
    """A loop of uvloop, where that is installed."""
    try:
        import uvloop  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop
