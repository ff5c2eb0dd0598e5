"""The worker: runs jobs and sends their outcomes.

It requests jobs from the pusher, runs one after the other, sends each outcome to the monitor, and keeps it until the
monitor has sent ``Recorded``. It connects to no broker and writes no task row.
"""

from __future__ import annotations

import os
import random
import select
import threading
import time
from collections import deque
from collections.abc import Callable

from django_cluster.cluster.bootstrap.host import resident_kilobytes
from django_cluster.cluster.ipc.channel import ConnectionLost
from django_cluster.cluster.ipc.client import IpcClient
from django_cluster.cluster.ipc.control_pipe import ControlPipe
from django_cluster.cluster.ipc.incarnation import Incarnation
from django_cluster.cluster.ipc.process_row import ProcessCommand, ProcessState
from django_cluster.cluster.ipc.protocol import (
    Hello,
    Jobs,
    Message,
    Outcomes,
    Ready,
    Recorded,
    Returned,
    Stopping,
    WorkerHello,
)
from django_cluster.cluster.ipc.scoreboard import Scoreboard
from django_cluster.cluster.ipc.words import COMMAND, REVOKED, RSS, STATE
from django_cluster.cluster.roles.concurrent_jobs import ConcurrentJobs
from django_cluster.cluster.roles.prefetch import PrefetchWindow
from django_cluster.cluster.roles.resource_check import ResourceCheck
from django_cluster.core.cancel_requests import keys_of
from django_cluster.core.events.processes import WORKER_DESCRIPTORS_REPLACED, WORKER_EXHAUSTED, WORKER_RECYCLED
from django_cluster.core.messages import Job, Outcome, OutcomeStatus, TaskHeader
from django_cluster.core.settings import ProcessSettings
from django_cluster.lifecycle.async_run import AsyncRun
from django_cluster.lifecycle.executor import Executor

MAX_WAIT_SECONDS = 0.5
"""Seconds that one turn of the loop waits at most."""
RECONNECT_SECONDS = 0.02
"""Seconds between two attempts to reach a pusher or monitor that is being replaced."""
MAX_UNRECORDED = 1024
"""Most outcomes that a worker keeps: a slow database slows the workers down, and memory does not grow."""
RECORDING_OVERDUE_SECONDS, EXTRA_TASKS = 5.0, 50
"""Seconds after which a worker that should be replaced, and has an unrecorded outcome as old as that, runs more tasks;
and how many."""
MAX_OUTBOX = 64
TRIVIAL_TASK_SECONDS = 0.0001
"""Seconds of a task up to which, if it succeeds, resources are not checked."""
SHORT_TASK_SECONDS = 0.001
"""Seconds of a task up to which its outcome may be sent together with others."""
LONG_TASK_SECONDS = 0.1
"""Seconds of a task after which the pusher may have been replaced; far less than any lease."""
MEMORY_CHECK_SECONDS = 0.05
"""Seconds between two measurements of memory, which take as long as a tiny task."""


class Worker:
    """Runs jobs. ``prepare`` is called before each with the monotonic time, ``clean_up`` after it.

    They leave no transaction, and no outdated connection, to the next task.
    """

    def __init__(
        self,
        incarnation: Incarnation,
        board: Scoreboard,
        control: ControlPipe,
        executor: Executor,
        crew: ProcessSettings,
        clean_up: Callable[[], None],
        prepare: Callable[[float], None] = lambda now: None,
        tidy_thread: Callable[[], object] = lambda: None,
    ) -> None:
        """``tidy_thread``: called in the threads that coroutines use, after each task that has used one."""
        self._incarnation, self._board, self._control = incarnation, board, control
        self._executor = executor
        self._prepare, self._clean_up, self._tidy_thread = prepare, clean_up, tidy_thread
        self._pusher = IpcClient(incarnation.runtime_dir.pusher_socket)
        self._monitor = IpcClient(incarnation.runtime_dir.monitor_socket)
        self._queue: deque[Job] = deque()
        executor.look_ahead(self._queue)
        self._requested = 0
        self._number = 0
        self._outbox: list[Outcome] = []
        self._unrecorded: dict[int, Outcome] = {}
        self._recorded: list[int] = []
        self._prefetch = PrefetchWindow()
        self._tasks_left = _tasks_until_restart(crew.recycle)
        self._max_rss = crew.max_rss
        self._memory_checked_at = 0.0
        self._short_functions: set[str] = set()
        self._resources = ResourceCheck(control.fileno())
        self._damaged = False
        self._stopping = False
        self._ran_long = False
        self._settings = crew
        self._jobs: ConcurrentJobs | None = None
        self._lines = threading.Lock()
        """Held by the main thread, except while it runs a plain task beside coroutines: then the thread of the event
        loop may use the connections, to report what has ended."""

    # ── the loop ─────────────────────────────────────────────────────────────────────────────────

    def run(self) -> None:
        """Run until a stop is requested, or the worker is due to be replaced."""
        self._board.set(self._incarnation.row, RSS, resident_kilobytes())  # its first task may be its last
        self._board.set(self._incarnation.row, STATE, ProcessState.IDLE)
        while not self.finished:
            self.tick()
        self._board.set(self._incarnation.row, STATE, ProcessState.STOPPING)
        self.disconnect()
        if self._jobs is not None:
            self._jobs.close()

    def disconnect(self) -> None:
        """Close the connections. Also called in a child that a task forks: a copy would hide our death."""
        self._pusher.close()
        self._monitor.close()

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do here."""
        if self._control.orphaned:
            return not (self._queue and self._pusher.connected)
        return self._stopping and not self._unrecorded and not self._queue and not self._runs_coroutines

    @property
    def _runs_coroutines(self) -> bool:
        """Whether coroutines run, or have ended and are not in ``_unrecorded`` yet."""
        return self._jobs is not None and (self._jobs.running > 0 or self._jobs.has_ended)

    def tick(self) -> None:
        """One turn: receive messages, request jobs, run what is here or wait."""
        self._board.report_alive(self._incarnation.row)
        self._connect()
        self._receive()
        if self._jobs is not None:
            self._collect(self._jobs)
        self._request_jobs()
        # Without a pusher the leases of waiting jobs are not renewed; the next one checks them.
        if self._queue and self._pusher.connected and self._has_room:
            self._run_batch()
            self._check_descriptors()
        else:
            self._flush()
            if not self.finished:
                self._resume_if_recording_is_late()
                self._wait()

    def _check_descriptors(self) -> None:
        """Reconnect and stop, when a task has put files of its own under the descriptors of the worker.

        Outcomes may have been written to such a file; over a new connection everything is sent again.
        """
        lines = [line for line in (self._pusher, self._monitor) if line.replaced]
        if self._control.replaced:
            self._control.ignored = True
        elif not lines:
            return
        if not self._stopping:
            WORKER_DESCRIPTORS_REPLACED.log(process_name=self._incarnation.name, pid=os.getpid())
        for line in lines:
            line.close()
        self._damaged = True
        self._stop()

    def _wait(self) -> None:
        lines = [line.fileno() for line in (self._pusher, self._monitor) if line.connected]
        poll = select.poll()
        for descriptor in lines:
            poll.register(descriptor, select.POLLIN)
        if not self._control.ignored:
            poll.register(self._control.fileno(), select.POLLIN)
        if self._jobs is not None:
            if self._jobs.has_ended:
                return
            poll.register(self._jobs.fileno(), select.POLLIN)
        poll.poll((MAX_WAIT_SECONDS if len(lines) == 2 else RECONNECT_SECONDS) * 1000)
        if self._control.stop_requested:
            self._stop()

    # ── lines ────────────────────────────────────────────────────────────────────────────────────

    def _connect(self) -> None:
        """Connect to a new pusher or monitor, and tell it what is held here: it must neither forget nor repeat it."""
        incarnation = self._incarnation
        if not self._pusher.connected and self._pusher.connect():
            self._requested = 0
            unrecorded = [(outcome.number, outcome.receipt) for outcome in self._unrecorded.values()]
            if self._jobs is not None:
                unrecorded += self._jobs.receipts()
            # Waiting jobs go back: their leases were not renewed and may have ended. What the last pusher had revoked
            # must not: another worker may have it.
            revoked = self._board.get(incarnation.row, REVOKED)
            waiting = [job for job in self._queue if job.number > revoked]
            self._executor.take_back(self._queue)
            self._queue.clear()
            _send(self._pusher, WorkerHello(incarnation.number, incarnation.row, waiting, unrecorded))
        if not self._monitor.connected and self._monitor.connect():
            self._outbox = list(self._unrecorded.values())
            _send(self._monitor, Hello(incarnation.number))

    def _receive(self) -> None:
        for message in self._monitor.receive():
            match message:
                case Recorded(numbers):
                    self._on_recorded(numbers)
        # After a long task: behind its messages the pusher may be dead, and its jobs may be leased by others.
        until_eof, self._ran_long = self._ran_long, False
        for message in self._pusher.receive(until_eof=until_eof):
            match message:
                case Jobs(jobs):
                    self._requested = max(0, self._requested - len(jobs))
                    self._queue.extend(jobs)

    def _on_recorded(self, numbers: list[int]) -> None:
        for number in numbers:
            self._unrecorded.pop(number, None)
        self._recorded.extend(numbers)
        if self._jobs is not None:
            self._jobs.release(numbers)

    def _request_jobs(self) -> None:
        """Request what the prefetch window allows, and name the jobs whose leases need not be renewed any longer."""
        wanted = 0
        if not self._stopping:
            size = self._prefetch.size
            if self._jobs is not None and self._jobs.running:
                size = min(size, max(0, self._jobs.capacity))  # behind a full loop jobs would wait for long
            room = min(size, self._tasks_left) - len(self._queue) - self._requested
            # In halves of the window: a request after every task would take longer than the task.
            if room > 0 and (room * 2 >= size or not self._queue):
                wanted = room
        if wanted or (self._recorded and not self._queue):
            recorded, self._recorded = self._recorded, []
            if _send(self._pusher, Ready(wanted, recorded)):
                self._requested += wanted

    def _flush(self) -> None:
        """Send the outcomes. They stay in ``_unrecorded`` until they are recorded, so none is lost."""
        if self._outbox and _send(self._monitor, Outcomes(self._outbox)):
            self._outbox = []

    # ── work ─────────────────────────────────────────────────────────────────────────────────────

    def _run_batch(self) -> None:
        """Run jobs for a few milliseconds before messages are received again."""
        until = time.monotonic() + self._prefetch.TARGET_SECONDS
        while self._queue and self._has_room:
            job = self._queue.popleft()
            began = time.monotonic()
            self._number = job.number
            self._board.begin_job(self._incarnation.row, job.number, began, 0.0, job.receipt)
            # After a pause of the whole cluster its leases may have ended, and another cluster may run this job.
            if self._board.get(self._incarnation.row, REVOKED) >= job.number or began >= self._board.leased_until:
                self._return_jobs([job])
                return
            self._run(job, began)
            if self._board.get(self._incarnation.row, COMMAND) == ProcessCommand.STOP:
                self._stop()
            if self._stopping or time.monotonic() > until:
                return

    @property
    def _has_room(self) -> bool:
        """Whether another job may begin."""
        return len(self._unrecorded) < MAX_UNRECORDED and (self._jobs is None or self._jobs.capacity > 0)

    def _run(self, job: Job, began: float) -> None:
        self._prepare(began)
        outcome = self._begin(job)
        now = time.monotonic()
        self._clean_up()  # ends a child that the task has forked, before it writes to our row
        if isinstance(outcome, AsyncRun):
            if self._run_concurrently(outcome, began, now):
                return
            outcome = outcome.run_here()
            now = time.monotonic()
            self._clean_up()
        self._board.finish_job(self._incarnation.row)
        self._unrecorded[outcome.number] = outcome
        self._outbox.append(outcome)
        seconds = self._executor.work_seconds(now - began)
        self._prefetch.observe(seconds)
        if now - began > LONG_TASK_SECONDS:
            self._ran_long = True
        if seconds <= SHORT_TASK_SECONDS:
            self._short_functions.add(outcome.func)
        else:
            self._short_functions.discard(outcome.func)
        if len(self._outbox) >= MAX_OUTBOX or not self._queue or seconds > SHORT_TASK_SECONDS:
            self._flush()
        failed = outcome.status != OutcomeStatus.SUCCESS
        if failed or now - began > TRIVIAL_TASK_SECONDS:
            self._stop_if_exhausted(failed or now - self._memory_checked_at >= MEMORY_CHECK_SECONDS, failed=failed)
        self._stop_if_due(now)

    def _begin(self, job: Job) -> Outcome | AsyncRun:
        """Run a job, or make its coroutine. Meanwhile the event loop may use the connections."""
        if self._jobs is None:
            return self._executor.begin(job, self._started)
        if self._jobs.has_ended:
            self._collect(self._jobs)
        self._lines.release()
        try:
            return self._executor.begin(job, self._started)
        finally:
            self._lines.acquire()

    # ── coroutines ───────────────────────────────────────────────────────────────────────────────

    def _run_concurrently(self, run: AsyncRun, began: float, now: float) -> bool:
        """Give a coroutine to the event loop; False where there is no room for the books about it."""
        if self._jobs is None:
            try:
                self._jobs = ConcurrentJobs(
                    self._incarnation, self._board, self._settings, self._tidy_thread, self._deliver
                )
            except OSError:
                return False
            self._lines.acquire()
        self._jobs.begin(run, began)
        self._board.finish_job(self._incarnation.row, counted=False)  # it is in the table
        self._prefetch.observe(now - began)
        self._stop_if_due(now)
        return True

    def _collect(self, jobs: ConcurrentJobs) -> None:
        """Take over what has ended on the event loop, and send it."""
        ended = jobs.take_ended()
        if not ended:
            return
        for run, outcome in ended:
            self._unrecorded[outcome.number] = outcome
            self._outbox.append(outcome)
            if run.leftover and not self._damaged:
                self._damaged = True
                reason = f"{run.leftover} of task {outcome.name} [{outcome.func}] that does not end"
                WORKER_EXHAUSTED.log(process_name=self._incarnation.name, pid=os.getpid(), reason=reason)
        self._flush()

    def _deliver(self) -> None:
        """Called on the event loop when a run has ended: report it, if the main thread runs a plain task."""
        jobs = self._jobs
        if jobs is None or not jobs.has_ended:
            return
        if not self._lines.acquire(blocking=False):
            jobs.retry_delivery()  # the main thread has been woken, unless it was about to run a plain task
            return
        try:
            self._collect(jobs)
            for message in self._monitor.receive():
                if isinstance(message, Recorded):
                    self._on_recorded(message.numbers)
        finally:
            self._lines.release()

    def report_progress(self, done: float, total: float, message: str) -> None:
        """Called by tasks, to say how far they are."""
        if self._jobs is None or not self._jobs.write_progress(done, total, message):
            self._board.write_progress(self._incarnation.row, done, total, message)

    def _stop_if_exhausted(self, thorough: bool, *, failed: bool) -> None:
        """Stop when a task has used up resources that the next one needs."""
        if thorough:
            missing = self._resources.shortage(failed=failed)
        else:
            missing = "file descriptors" if self._resources.lacks_descriptors() else ""
        if missing and not self._damaged:
            self._damaged = True
            WORKER_EXHAUSTED.log(process_name=self._incarnation.name, pid=os.getpid(), reason=missing)
            self._stop()

    def _started(self, header: TaskHeader, limit: float | None) -> None:
        """Called by the executor when it knows the task: its deadline, and whether outcomes may wait for it."""
        words: tuple[str, ...] = (header.id, header.name, header.func)
        if header.options.member is not None or header.options.group is not None:  # it may be cancelled with others
            keys = keys_of(header)
            words = *words, repr(keys.enqueued_at), keys.composition, keys.group
        self._board.write_task_info(self._incarnation.row, self._number, *words)
        if limit is not None:
            self._board.set_deadline(self._incarnation.row, time.monotonic() + limit)
        if self._outbox and header.func not in self._short_functions:
            if self._jobs is None:
                self._flush()
            else:
                with self._lines:
                    self._flush()

    def _return_jobs(self, jobs: list[Job]) -> None:
        """Return ``jobs`` and all jobs behind them to the pusher, which has revoked them."""
        self._board.finish_job(self._incarnation.row, counted=False)
        jobs = [*jobs, *self._queue]
        self._queue.clear()
        self._executor.take_back(jobs)
        _send(self._pusher, Returned([job.number for job in jobs]))

    # ── leaving ──────────────────────────────────────────────────────────────────────────────────

    def _stop_if_due(self, now: float) -> None:
        """Stop after ``recycle`` tasks, or with more memory than ``max_rss``."""
        self._tasks_left -= 1
        if self._tasks_left <= 0:
            self._stop()
        if now - self._memory_checked_at < MEMORY_CHECK_SECONDS:
            return
        self._memory_checked_at = now
        rss = resident_kilobytes()
        self._board.set(self._incarnation.row, RSS, rss)
        if self._max_rss is not None and rss >= self._max_rss and not self._stopping:
            WORKER_RECYCLED.log(process_name=self._incarnation.name, kilobytes=rss, limit_kilobytes=self._max_rss)
            self._stop()

    def _resume_if_recording_is_late(self) -> None:
        """Go on working while outcomes cannot be recorded for long: only then is a stopping worker replaced."""
        if not self._stopping or self._damaged or not self._unrecorded or self._control.stop_requested:
            return
        oldest = next(iter(self._unrecorded.values()))
        if (
            time.time() - oldest.stopped_at > RECORDING_OVERDUE_SECONDS
            and self._board.get(self._incarnation.row, COMMAND) != ProcessCommand.STOP
        ):
            self._stopping = False
            self._tasks_left = EXTRA_TASKS
            self._requested = 0  # the pusher has dropped the request at ``Stopping``

    def _stop(self) -> None:
        """Request no more jobs, return what is not begun, and exit when everything is recorded."""
        if self._stopping:
            return
        self._stopping = True
        if self._queue:
            self._return_jobs([])
        _send(self._pusher, Stopping())


def _send(client: IpcClient, message: Message) -> bool:
    """Whether it was sent. What is held is sent again when the client has connected to the successor."""
    try:
        client.send(message)
    except ConnectionLost:
        return False
    return True


def _tasks_until_restart(recycle: int) -> int:
    """Tasks until a worker is replaced: up to a tenth fewer, so that not all workers exit at the same time."""
    return recycle - random.randint(0, recycle // 10) if recycle else 1 << 62  # noqa: S311  jitter, not a secret
