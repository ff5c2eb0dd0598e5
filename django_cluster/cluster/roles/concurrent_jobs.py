"""The jobs that a worker runs concurrently: how many, until when, and what of them has ended.

Two threads use it: the main thread of the worker begins jobs and collects what has ended, the thread of the event loop
runs them. What both change is under one lock. Made when the first coroutine begins.
"""

from __future__ import annotations

import heapq
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress

from django_cluster.cluster.ipc.incarnation import Incarnation
from django_cluster.cluster.ipc.running_jobs import RunningJobs, running_jobs_file
from django_cluster.cluster.ipc.scoreboard import Scoreboard
from django_cluster.cluster.ipc.words import CONCURRENT, CONCURRENT_DONE, JOB_SLOTS
from django_cluster.cluster.roles.event_loop import EventLoop, LoopRun, current_run
from django_cluster.cluster.roles.loop_watch import LoopWatch
from django_cluster.cluster.roles.stepped_coroutine import SteppedCoroutine
from django_cluster.core.messages import Job, Outcome
from django_cluster.core.settings import ProcessSettings
from django_cluster.lifecycle.async_run import AsyncRun

UNRECORDED_SLOTS = 412
"""Slots beyond those of running jobs: a job keeps its own until it is recorded."""
RETRY_SECONDS = 0.05
"""Seconds after which the thread of the loop tries again to report what has ended."""


class ConcurrentJobs:
    """``deliver``: called on the event loop when a job has ended; the main thread may be busy with a plain task."""

    def __init__(
        self,
        incarnation: Incarnation,
        board: Scoreboard,
        settings: ProcessSettings,
        clean_up: Callable[[], object],
        deliver: Callable[[], None],
    ) -> None:
        """Raises ``OSError`` where there is no room for the table of the jobs."""
        self._incarnation, self._board, self._row = incarnation, board, incarnation.row
        self.limit = settings.async_concurrency
        self._path = running_jobs_file(incarnation.runtime_dir.path, incarnation.number)
        self.table = RunningJobs.create(self._path, self.limit + UNRECORDED_SLOTS)
        self._board.set(self._row, JOB_SLOTS, self.table.slots)
        self._free = list(range(self.table.slots - 1, -1, -1))
        self._slots: dict[int, int] = {}
        self._running: dict[int, Job] = {}
        self._deadlines: list[tuple[float, int]] = []
        self._done: deque[tuple[LoopRun, Outcome]] = deque()
        self._lock = threading.Lock()
        self._deliver = deliver
        self._signalled = False
        self._retries = False
        self._wake_reader, self._wake_writer = os.pipe()
        for descriptor in (self._wake_reader, self._wake_writer):
            os.set_blocking(descriptor, False)
        self._loop = EventLoop(self._finished, clean_up)
        self._watch = LoopWatch(self._loop, board, incarnation, settings, self._cancelled, clean_up)

    # ── the main thread ──────────────────────────────────────────────────────────────────────────

    @property
    def running(self) -> int:
        """How many jobs run."""
        return len(self._running)

    @property
    def capacity(self) -> int:
        """How many more may begin now."""
        return min(self.limit - len(self._running), len(self._free))

    @property
    def has_ended(self) -> bool:
        """Whether ``take_ended`` has something to return."""
        return bool(self._done)

    def fileno(self) -> int:
        """Becomes readable when a job has ended."""
        return self._wake_reader

    def begin(self, run: AsyncRun, began: float) -> None:
        """Run a coroutine. ``began``: ``time.monotonic()`` at which its job began."""
        job, header = run.job, run.header
        with self._lock:
            slot = self._free.pop()
            self._slots[job.number] = slot
            self._running[job.number] = job
            info = (header.id, header.name, header.func)
            self.table.add(slot, job.number, began, run.deadline or 0.0, job.receipt, *info)
            if run.deadline is not None:
                heapq.heappush(self._deadlines, (run.deadline, job.number))
            self._write_words()
        run.awaitable = SteppedCoroutine(run.call.coroutine, self._board, self._row, job.number)
        self._loop.submit(LoopRun(run, slot))

    def take_ended(self) -> list[tuple[LoopRun, Outcome]]:
        """The runs that have ended since the last call, with their outcomes."""
        if self._signalled:
            with suppress(BlockingIOError):
                os.read(self._wake_reader, 64)
            self._signalled = False
        ended = []
        while self._done:
            ended.append(self._done.popleft())
        return ended

    def release(self, numbers: Iterable[int]) -> None:
        """Free the slots of jobs that are recorded; other numbers are passed over."""
        with self._lock:
            for number in numbers:
                if (slot := self._slots.pop(number, None)) is not None:
                    self.table.free(slot)
                    self._free.append(slot)

    def receipts(self) -> list[tuple[int, str]]:
        """Number and receipt of each job that runs."""
        with self._lock:
            return [(job.number, job.receipt) for job in self._running.values()]

    def write_progress(self, done: float, total: float, message: str) -> bool:
        """How far the run is that calls it; False where the caller belongs to none."""
        run = current_run.get()
        if run is None:
            return False
        if run.outcome is None:
            self.table.write_progress(run.slot, done, total, message)
        return True

    def close(self) -> None:
        self._watch.close()
        self._loop.close()
        self._board.set(self._row, JOB_SLOTS, 0)
        with suppress(OSError):
            os.unlink(self._path)

    # ── the thread of the loop ───────────────────────────────────────────────────────────────────

    def _finished(self, run: LoopRun, outcome: Outcome) -> None:
        number = run.run.job.number
        with self._lock:
            # First: what is reported to the monitor must not be given back as interrupted.
            self.table.finish(run.slot)
            del self._running[number]
            self._board.set(self._row, CONCURRENT_DONE, self._board.get(self._row, CONCURRENT_DONE) + 1)
            self._write_words()
            self._done.append((run, outcome))
            wakes, self._signalled = not self._signalled, True
        if wakes:
            with suppress(BlockingIOError):
                os.write(self._wake_writer, b"!")
        self._deliver()

    def _cancelled(self, run: LoopRun) -> None:
        """A run is about to be cancelled: it has ``kill_grace`` to end. Called by the thread that watches the loop."""
        now, number = time.monotonic(), run.run.job.number
        with self._lock:
            if number in self._running:
                self.table.cancel(run.slot, now)
                heapq.heappush(self._deadlines, (now, number))
                self._write_words()

    def retry_delivery(self) -> None:
        """Call ``deliver`` again after a while. Called by ``deliver``."""
        if not self._retries:
            self._retries = True
            self._loop.loop.call_later(RETRY_SECONDS, self._retry)

    def _retry(self) -> None:
        self._retries = False
        self._deliver()

    def _write_words(self) -> None:
        """How many run, and the earliest of their deadlines. Under the lock."""
        deadlines = self._deadlines
        while deadlines and deadlines[0][1] not in self._running:
            heapq.heappop(deadlines)
        self._board.set_concurrent_deadline(self._row, deadlines[0][0] if deadlines else 0.0)
        self._board.set(self._row, CONCURRENT, len(self._running))
