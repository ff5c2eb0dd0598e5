"""The notifier: calls the project's hooks, receivers of ``post_execute`` and error reporters, after the recording.

A process of its own, with connections of its own: what this code does to them, or how long it hangs, concerns neither
the monitor nor the records. It is started when there is something to call for the first time. Each outcome is called
for at most once: its number is written to the scoreboard before, so that the successor of a notifier that has died
is given only what comes after it. A call that overruns its limit gets an exception, and is killed by the
sentinel if it goes on.
"""

from __future__ import annotations

import logging
import select
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from django.db import connections

from django_cluster.cluster.channel import LineDown
from django_cluster.cluster.hygiene import Hygiene
from django_cluster.cluster.scoreboard import BEGUN, STATE, Scoreboard, State
from django_cluster.cluster.seat import Orders, Seat
from django_cluster.cluster.wire import Line
from django_cluster.core.messages import Outcome, OutcomeStatus
from django_cluster.errors import StoreUnavailable
from django_cluster.lifecycle.admission import UNLIMITED
from django_cluster.lifecycle.contexts import InitialContext
from django_cluster.lifecycle.record import HOOK_LIMIT, has_hook, run_hook, tell_receivers
from django_cluster.lifecycle.reporters import REPORT_LIMIT, Reporters
from django_cluster.signals import post_execute

logger = logging.getLogger("django_cluster")

PAUSE = 0.5
"""Seconds of the longest sleep between two looks around."""
RECONNECT_SECONDS = 0.02
"""Seconds between two attempts to reach a monitor that is being replaced."""
ANSWER_SECONDS = 0.1
"""Seconds after which the monitor is told what has been called, although more is to be called."""


class Notifier:
    """Calls in order, one after the other. ``find_row`` reads the row of a task by its id.

    ``functions``: the setting, which is asked before a hook is imported.
    """

    def __init__(
        self,
        seat: Seat,
        board: Scoreboard,
        orders: Orders,
        reporters: Reporters,
        find_row: Callable[[str], Any],
        functions: tuple[str, ...] = UNLIMITED,
    ) -> None:
        self._seat, self._board, self._orders = seat, board, orders
        self._reporters, self._find, self._functions = reporters, find_row, functions
        self._line = Line(seat.folder.reports)
        self._hygiene, self._initial = Hygiene(), InitialContext()
        self._waiting: deque[tuple[int, Outcome]] = deque()
        self._told_to_leave = False
        self._answered_at = 0.0

    def run(self) -> None:
        """Until the monitor or the sentinel says so."""
        self._board.set(self._seat.row, STATE, State.IDLE)
        while not self._gone:
            self.tick()
        self._board.set(self._seat.row, STATE, State.LEAVING)
        self._reporters.flush()
        self.hang_up()

    def hang_up(self) -> None:
        """Close the line; also for a child that a hook has forked: a copy of it would hide our death."""
        self._line.close()

    @property
    def _gone(self) -> bool:
        """What is not begun when the sentinel wants another in this place is given to that one."""
        return self._orders.leave or (self._told_to_leave and not self._waiting)

    def tick(self) -> None:
        self._board.tick(self._seat.row)
        self._connect()
        self._listen()
        if self._waiting:
            self._call_next()
        else:
            self._wait()

    def _connect(self) -> None:
        if not self._line.connected and self._line.connect():
            row = self._seat.row
            self._say("notifier", self._seat.number, row, self._board.get(row, BEGUN))

    def _listen(self) -> None:
        for word, *values in self._line.receive():
            if word == "notify":
                self._waiting.extend((number, Outcome(*each)) for number, each in values[0])
            elif word == "leave":
                self._told_to_leave = True

    def _say(self, *message: object) -> None:
        try:
            self._line.send(message)
        except LineDown:
            return  # the next monitor hears it when we call

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self._orders.fileno(), select.POLLIN)
        if self._line.connected:
            poll.register(self._line.fileno(), select.POLLIN)
        poll.poll((PAUSE if self._line.connected else RECONNECT_SECONDS) * 1000)

    # ── calling ──────────────────────────────────────────────────────────────────────────────────

    def _call_next(self) -> None:
        number, outcome = self._waiting.popleft()
        row, now = self._seat.row, time.monotonic()
        self._hygiene.prepare(now)
        self._board.begin(row, number, now, now + HOOK_LIMIT)
        if post_execute.receivers:
            self._call(number, outcome, "post_execute", HOOK_LIMIT, tell_receivers, outcome)
        if has_hook(outcome):
            hook = str(outcome.options["hook"])
            self._call(number, outcome, hook, HOOK_LIMIT, run_hook, outcome, self._row_of, self._functions)
        if outcome.status != OutcomeStatus.SUCCESS and self._reporters:
            limit = REPORT_LIMIT * len(self._reporters)
            self._call(number, outcome, "reporters", limit, self._reporters.report_unwitnessed, outcome)
        self._board.finish(row)
        if not self._waiting or time.monotonic() - self._answered_at > ANSWER_SECONDS:
            self._answered_at = time.monotonic()
            self._say("done", number)

    def _call(
        self, number: int, outcome: Outcome, what: str, limit: float, call: Callable[..., None], *args: object
    ) -> None:
        """With a deadline that the sentinel heeds, in a fresh context, and tidied up behind it."""
        self._board.set_deadline(self._seat.row, time.monotonic() + limit)
        self._board.note(self._seat.row, number, outcome.id, outcome.name, what)
        self._initial.run(call, *args)
        self._hygiene()

    def _row_of(self, task_id: str) -> Any:
        """The saved row. An earlier hook may have altered the session (a role, a search path): then by another one."""
        try:
            row = self._find(task_id)
        except StoreUnavailable:
            row = None
        if row is None and any(each.connection is not None for each in connections.all(initialized_only=True)):
            connections.close_all()
            return self._find(task_id)
        return row
