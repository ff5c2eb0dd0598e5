"""The worker: job → outcome.

It asks the pusher for jobs, runs them in turn, sends each outcome to the monitor and keeps it until the
monitor says *filed*. It talks to no broker and writes no task row.
"""

from __future__ import annotations

import logging
import os
import random
import select
import time
from collections import deque
from collections.abc import Callable

from django_cluster.cluster.capacity import Capacity
from django_cluster.cluster.channel import LineDown
from django_cluster.cluster.host import resident_kilobytes
from django_cluster.cluster.scoreboard import ORDER, REVOKED, RSS, STATE, Order, Scoreboard, State
from django_cluster.cluster.seat import Orders, Seat
from django_cluster.cluster.window import Window
from django_cluster.cluster.wire import Line
from django_cluster.core.messages import Job, Outcome, OutcomeStatus, TaskHeader
from django_cluster.core.settings import CrewSettings
from django_cluster.lifecycle.execute import Executor

logger = logging.getLogger("django_cluster")

PAUSE = 0.5
"""Seconds of the longest sleep between two looks around."""
RECONNECT = 0.02
"""Seconds between two attempts to reach a pusher or monitor that is being replaced."""
MAX_UNFILED = 1024
"""Outcomes a worker holds at most: a slow database slows the workers down, and memory stays flat."""
STUCK, LATER = 5.0, 50
"""Seconds that an outcome waits to be filed, after which a worker that should be replaced runs so many tasks more."""
MAX_OUTBOX = 64
NOTHING = 0.0001
"""Seconds: a task that is as short as this, and succeeds, has hardly left anything behind."""
QUICK = 0.001
"""Seconds: outcomes may travel together only while tasks are as short as this."""
LONG = 0.1
"""Seconds of a task after which much may have happened; far less than any lease."""
MEMORY_LOOK = 0.05
"""Seconds between two looks at our own memory, which costs as much as a tiny task."""


class Worker:
    """Runs jobs. ``prepare`` is called before each with the monotonic time, ``tidy`` after it.

    They leave no transaction, and no connection that is too old, to the next.
    """

    def __init__(
        self,
        seat: Seat,
        board: Scoreboard,
        orders: Orders,
        executor: Executor,
        crew: CrewSettings,
        tidy: Callable[[], None],
        prepare: Callable[[float], None] = lambda now: None,
    ) -> None:
        self._seat, self._board, self._orders = seat, board, orders
        self._executor = executor
        self._prepare, self._tidy = prepare, tidy
        self._jobs = Line(seat.folder.jobs)
        self._reports = Line(seat.folder.reports)
        self._queue: deque[Job] = deque()
        self._asked = 0
        self._number = 0
        self._outbox: list[Outcome] = []
        self._unfiled: dict[int, Outcome] = {}
        self._settled: list[int] = []
        self._window = Window()
        self._tasks_left = _lifetime(crew.recycle)
        self._max_rss = crew.max_rss
        self._looked_at_memory = 0.0
        self._quick: set[str] = set()
        self._capacity = Capacity(orders.fileno())
        self._wrecked = False
        self._leaving = False
        self._was_busy = False

    # ── the loop ─────────────────────────────────────────────────────────────────────────────────

    def run(self) -> None:
        """Until it is told to leave, or has worked enough."""
        self._board.set(self._seat.row, RSS, resident_kilobytes())  # its first task may be its last
        self._board.set(self._seat.row, STATE, State.IDLE)
        while not self.gone:
            self.tick()
        self._board.set(self._seat.row, STATE, State.LEAVING)
        self.hang_up()

    def hang_up(self) -> None:
        """Close the lines; also for a child that a task has forked: a copy of a line would hide our death."""
        self._jobs.close()
        self._reports.close()

    @property
    def gone(self) -> bool:
        """Whether nothing is left to do here."""
        if self._orders.orphaned:
            return not (self._queue and self._jobs.connected)
        return self._leaving and not self._unfiled and not self._queue

    def tick(self) -> None:
        """One turn: listen, ask, run what is here or wait."""
        self._board.tick(self._seat.row)
        self._connect()
        self._listen()
        self._ask()
        # Without a pusher nobody keeps alive what is not begun; the next one asks whether it is still ours.
        if self._queue and self._jobs.connected and len(self._unfiled) < MAX_UNFILED:
            self._run_some()
            self._check_descriptors()
        else:
            self._flush()
            if not self.gone:
                self._consider_staying()
                self._wait()

    def _check_descriptors(self) -> None:
        """A task may have put files of its own in the place of ours: call again on new lines, and leave.

        What the outcomes were sent to may have been the file of the task; a new line is told everything again.
        """
        lines = [line for line in (self._jobs, self._reports) if line.replaced]
        if self._orders.replaced:
            self._orders.deaf = True
        elif not lines:
            return
        if not self._leaving:
            logger.error(
                "%s (pid %d) restarts: a task has replaced its descriptors",
                self._seat.name, os.getpid(), extra={"event": "worker_descriptors_replaced"},
            )  # fmt: skip
        for line in lines:
            line.close()
        self._wrecked = True
        self._leave()

    def _wait(self) -> None:
        lines = [line.fileno() for line in (self._jobs, self._reports) if line.connected]
        poll = select.poll()
        for descriptor in lines:
            poll.register(descriptor, select.POLLIN)
        if not self._orders.deaf:
            poll.register(self._orders.fileno(), select.POLLIN)
        poll.poll((PAUSE if len(lines) == 2 else RECONNECT) * 1000)
        if self._orders.leave:
            self._leave()

    # ── lines ────────────────────────────────────────────────────────────────────────────────────

    def _connect(self) -> None:
        """Whoever answers anew is told what we hold: it must neither forget nor repeat it."""
        seat = self._seat
        if not self._jobs.connected and self._jobs.connect():
            self._asked = 0
            held = [(o.number, o.receipt, o.attempt) for o in self._unfiled.values()]
            # What is not begun goes back: its lease may have ended while nobody kept it. What the last pusher had
            # taken back is not ours to give: another worker may have it.
            revoked = self._board.get(seat.row, REVOKED)
            waiting = [tuple(job) for job in self._queue if job.number > revoked]
            self._queue.clear()
            self._say_to_pusher("hello", seat.number, seat.row, waiting, held)
        if not self._reports.connected and self._reports.connect():
            self._outbox = list(self._unfiled.values())
            self._say_to_monitor("hello", seat.number)

    def _listen(self) -> None:
        for word, *values in self._reports.receive():
            if word == "filed":
                self._filed(values[0])
        # After a long task: the pusher may be dead behind what it has said, and what it has lent be lent to others.
        to_the_end, self._was_busy = self._was_busy, False
        for word, *values in self._jobs.receive(to_the_end=to_the_end):
            if word == "jobs":
                jobs = [Job(*each) for each in values[0]]
                self._asked = max(0, self._asked - len(jobs))
                self._queue.extend(jobs)

    def _filed(self, numbers: list[int]) -> None:
        for number in numbers:
            self._unfiled.pop(number, None)
        self._settled.extend(numbers)

    def _ask(self) -> None:
        """Ask for what the window allows, and say what need not be kept alive any longer."""
        want = 0
        if not self._leaving:
            room = min(self._window.size, self._tasks_left) - len(self._queue) - self._asked
            # Ask in halves: a request for every finished task would cost more than the task.
            if room > 0 and (room * 2 >= self._window.size or not self._queue):
                want = room
        if want or (self._settled and not self._queue):
            settled, self._settled = self._settled, []
            if self._say_to_pusher("ready", want, settled):
                self._asked += want

    def _say_to_pusher(self, *message: object) -> bool:
        try:
            self._jobs.send(message)
        except LineDown:
            return False
        return True

    def _say_to_monitor(self, *message: object) -> bool:
        try:
            self._reports.send(message)
        except LineDown:
            return False
        return True

    def _flush(self) -> None:
        """Send the outcomes; they stay in ``_unfiled`` until they are filed, so none is lost here."""
        if self._outbox and self._say_to_monitor("outcomes", [tuple(outcome) for outcome in self._outbox]):
            self._outbox = []

    # ── work ─────────────────────────────────────────────────────────────────────────────────────

    def _run_some(self) -> None:
        """Run jobs for a few milliseconds before looking at the lines again."""
        until = time.monotonic() + self._window.PATIENCE
        while self._queue and len(self._unfiled) < MAX_UNFILED:
            job = self._queue.popleft()
            began = time.monotonic()
            self._number = job.number
            self._board.begin(self._seat.row, job.number, began, 0.0, job.receipt)
            # After a pause of the whole cluster its leases may have ended, and another cluster may run this job.
            if self._board.get(self._seat.row, REVOKED) >= job.number or began >= self._board.leased_until:
                self._hand_back([job])
                return
            self._run(job, began)
            if self._board.get(self._seat.row, ORDER) == Order.LEAVE:
                self._leave()
            if self._leaving or time.monotonic() > until:
                return

    def _run(self, job: Job, began: float) -> None:
        self._prepare(began)
        outcome = self._executor.run(job, self._started)
        now = time.monotonic()
        self._tidy()  # ends a child that the task has forked, before it writes anything in our name
        self._board.finish(self._seat.row)
        self._unfiled[outcome.number] = outcome
        self._outbox.append(outcome)
        self._window.learn(now - began)
        if now - began > LONG:
            self._was_busy = True
        if now - began <= QUICK:
            self._quick.add(outcome.func)
        else:
            self._quick.discard(outcome.func)
        if len(self._outbox) >= MAX_OUTBOX or not self._queue or now - began > QUICK:
            self._flush()
        failed = outcome.status != OutcomeStatus.SUCCESS
        if failed or now - began > NOTHING:
            self._consider_leaving(failed or now - self._looked_at_memory >= MEMORY_LOOK, failed=failed)
        self._age(now)

    def _consider_leaving(self, thorough: bool, *, failed: bool) -> None:
        """A task may have used up what every other one needs: then this process must not be given any more."""
        if thorough:
            missing = self._capacity.shortage(failed=failed)
        else:
            missing = "file descriptors" if self._capacity.lacks_descriptors() else ""
        if missing and not self._wrecked:
            self._wrecked = True
            logger.warning(
                "%s (pid %d) restarts: a task has used up its %s",
                self._seat.name, os.getpid(), missing, extra={"event": "worker_exhausted"},
            )  # fmt: skip
            self._leave()

    def _started(self, header: TaskHeader, limit: float | None) -> None:
        """Called by the executor when it knows the task: its deadline, and whether outcomes may wait for it."""
        self._board.note(self._seat.row, self._number, header.id, header.name, header.func)
        if limit is not None:
            self._board.set_deadline(self._seat.row, time.monotonic() + limit)
        if self._outbox and header.func not in self._quick:
            self._flush()

    def _hand_back(self, jobs: list[Job]) -> None:
        """The pusher wants back what was not begun; it has counted on ``jobs`` and all behind them."""
        self._board.finish(self._seat.row, counted=False)
        jobs = [*jobs, *self._queue]
        self._queue.clear()
        self._say_to_pusher("returned", [job.number for job in jobs])

    # ── leaving ──────────────────────────────────────────────────────────────────────────────────

    def _age(self, now: float) -> None:
        """Leave after enough tasks, or with too much memory."""
        self._tasks_left -= 1
        if self._tasks_left <= 0:
            self._leave()
        if now - self._looked_at_memory < MEMORY_LOOK:
            return
        self._looked_at_memory = now
        rss = resident_kilobytes()
        self._board.set(self._seat.row, RSS, rss)
        if self._max_rss is not None and rss >= self._max_rss and not self._leaving:
            logger.info("%s holds %d kB and is replaced (max_rss is %d).", self._seat.name, rss, self._max_rss)
            self._leave()

    def _consider_staying(self) -> None:
        """Nobody takes our place before all is filed. Where a server is away that takes long: work on meanwhile."""
        if not self._leaving or self._wrecked or not self._unfiled or self._orders.leave:
            return
        oldest = next(iter(self._unfiled.values()))
        if time.time() - oldest.stopped_at > STUCK and self._board.get(self._seat.row, ORDER) != Order.LEAVE:
            self._leaving = False
            self._tasks_left = LATER
            self._asked = 0  # the pusher has forgotten it when it heard that we leave

    def _leave(self) -> None:
        """Take no new jobs, give back what is not begun, and go when everything is filed."""
        if self._leaving:
            return
        self._leaving = True
        if self._queue:
            self._hand_back([])
        self._say_to_pusher("leaving")


def _lifetime(recycle: int) -> int:
    """Tasks until a worker is replaced: up to a tenth fewer, so that workers do not leave all at once."""
    return recycle - random.randint(0, recycle // 10) if recycle else 1 << 62  # noqa: S311  jitter, not a secret
