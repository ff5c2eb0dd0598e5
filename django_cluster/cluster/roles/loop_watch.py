"""Watches the event loop of a worker from another thread: is it blocked, and by which task?

Also writes down the stack of a task that has exceeded its time limit and goes on: the sentinel is about to kill the
process, and the pusher reads the note afterwards.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from django_cluster.cluster.ipc.incarnation import Incarnation
from django_cluster.cluster.ipc.running_jobs import stack_file
from django_cluster.cluster.ipc.scoreboard import Scoreboard
from django_cluster.cluster.ipc.shared_hashes import text_hash
from django_cluster.cluster.ipc.words import BLOCKER
from django_cluster.cluster.roles.event_loop import EventLoop, LoopRun
from django_cluster.core.cancel_requests import keys_of
from django_cluster.core.events.processes import LOOP_BLOCKED
from django_cluster.core.events.tasks import TASK_CANCEL_REQUESTED
from django_cluster.core.settings import ProcessSettings

MAX_INTERVAL = 0.25
"""Seconds between two looks at most."""
CHECKS_PER_LIMIT = 4
FRAMES = 8
"""Frames of a stack that a log record shows."""


class LoopWatch:
    """A thread that looks at the loop a few times in each ``loop_block_limit``, while tasks run on it."""

    def __init__(
        self,
        loop: EventLoop,
        board: Scoreboard,
        incarnation: Incarnation,
        settings: ProcessSettings,
        cancelled: Callable[[LoopRun], None],
        clean_up: Callable[[], object],
    ) -> None:
        """``cancelled``: called for each run that is about to be cancelled by request. ``clean_up``: called after the
        database was asked."""
        self._cancelled, self._clean_up = cancelled, clean_up
        self._loop, self._board, self._incarnation = loop, board, incarnation
        self._limit, self._grace = settings.loop_block_limit, settings.kill_grace
        self._interval = min(MAX_INTERVAL, (self._limit or 1.0) / CHECKS_PER_LIMIT)
        self._closing = threading.Event()
        self._asked_at = 0.0
        self._answered = True
        self._blocker = 0
        self._noted: set[int] = set()
        self._thread = threading.Thread(target=self._watch, name="django_cluster loop watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()

    def _watch(self) -> None:
        while not self._closing.wait(self._interval):
            now = time.monotonic()
            if self._answered:
                if self._blocker:
                    self._name_blocker(0)
                if self._loop.runs:
                    self._answered, self._asked_at = False, now
                    self._loop.loop.call_soon_threadsafe(self._answer)
            elif self._limit and now - self._asked_at > self._limit:
                self._report(now - self._asked_at)
            self._note_overdue(now)
            if self._board.cancelled.version:
                self._cancel_requested()

    def _answer(self) -> None:
        """Called on the loop."""
        self._answered = True

    def _report(self, seconds: float) -> None:
        """Say which task blocks the loop, once."""
        run = self._loop.current()
        if run is None or run.run.job.number == self._blocker:
            return
        stack = self._loop.stack(run)
        if self._loop.current() is not run:
            return
        header = run.run.header
        self._name_blocker(run.run.job.number)
        write_stack(self._incarnation, run, stack)
        LOOP_BLOCKED.log(
            process_name=self._incarnation.name,
            pid=os.getpid(),
            seconds=seconds,
            task_id=header.id,
            task_name=header.name,
            function=header.func,
            stack=one_line(stack),
        )

    def _name_blocker(self, number: int) -> None:
        self._blocker = number
        self._board.set(self._incarnation.row, BLOCKER, number)

    def _cancel_requested(self) -> None:
        """Cancel the runs that requests cover. One that begins later was compared with them before."""
        version, hashes = self._board.cancelled.version, self._board.cancelled.hashes()
        if not hashes:
            return
        for run in self._runs():
            if run.checked_cancels == version:
                continue
            run.checked_cancels = version
            if not any(text_hash(name) in hashes for name in keys_of(run.run.header).names):
                continue
            try:
                request = run.run.cancel_request()
            finally:
                self._clean_up()
            if request is not None:
                header = run.run.header
                TASK_CANCEL_REQUESTED.log(task_id=header.id, task_name=header.name, by=request.by)
                self._cancelled(run)
                self._loop.cancel(run)

    def _runs(self) -> list[LoopRun]:
        """All runs on the loop, which goes on meanwhile."""
        while True:
            try:
                return list(dict.fromkeys(self._loop.runs.values()))
            except RuntimeError:  # the dict has changed meanwhile
                continue

    def _note_overdue(self, now: float) -> None:
        """Write down where the runs are that should have ended, half of ``kill_grace`` before their process is killed.

        One that was blocked is written down already.
        """
        row = self._board.read(self._incarnation.row)
        if not row.concurrent_deadline or now < row.concurrent_deadline + self._grace / 2:
            return
        for run in self._runs():
            deadline, number = run.run.deadline, run.run.job.number
            late = run.run.is_cancelled or (deadline is not None and now >= deadline + self._grace / 2)
            if late and number not in self._noted:
                self._noted.add(number)
                write_stack(self._incarnation, run, self._loop.stack(run))


def one_line(stack: str) -> str:
    """The innermost frames of a formatted stack, for a log record."""
    lines = [line.strip() for line in stack.splitlines() if line.startswith("  File ")]
    return " < ".join(lines[::-1][:FRAMES])


def write_stack(incarnation: Incarnation, run: LoopRun, stack: str) -> None:
    """Write the note about a run."""
    with suppress(OSError):
        path = stack_file(incarnation.runtime_dir.path, incarnation.number, run.run.job.number)
        path.write_text(stack, errors="replace")
