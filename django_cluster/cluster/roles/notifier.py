"""The notifier: calls the project's hooks, receivers of ``post_execute`` and error reporters, after the recording.

It is a process of its own, with its own connections, so that this code cannot affect the monitor and the recording. It
is started when there is something to call for the first time. Each outcome is called for at most once: its number is
written to the scoreboard before the call, and the successor of a notifier that has died is sent only later ones. A
call that exceeds its timeout gets an exception; if it goes on, the sentinel kills the process.
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from django.db import connections

from django_cluster.cluster.bootstrap.task_cleanup import TaskCleanup
from django_cluster.cluster.ipc.channel import ConnectionLost
from django_cluster.cluster.ipc.client import IpcClient
from django_cluster.cluster.ipc.control_pipe import ControlPipe
from django_cluster.cluster.ipc.incarnation import Incarnation
from django_cluster.cluster.ipc.process_row import ProcessState
from django_cluster.cluster.ipc.protocol import Message, Notified, NotifierHello, Notify, Stop
from django_cluster.cluster.ipc.scoreboard import Scoreboard
from django_cluster.cluster.ipc.words import BEGUN, STATE
from django_cluster.core.events.tasks import RECEIVER_INTERRUPTED
from django_cluster.core.messages import Outcome, OutcomeStatus
from django_cluster.errors import StoreUnavailable
from django_cluster.lifecycle.admission import ALL_FUNCTIONS
from django_cluster.lifecycle.error_reporting import REPORT_TIMEOUT, ErrorReporters
from django_cluster.lifecycle.framework_ends import announce_end, is_unannounced
from django_cluster.lifecycle.notification import HOOK_TIMEOUT, has_hook, notify_receivers, run_hook
from django_cluster.lifecycle.row_receivers import has_row_receivers, send_post_save
from django_cluster.lifecycle.soft_timeout import soft_timeout
from django_cluster.lifecycle.task_context import InitialContext
from django_cluster.models import TrackedTask
from django_cluster.signals import post_execute

MAX_WAIT_SECONDS = 0.5
"""Seconds that one turn of the loop waits at most."""
RECONNECT_SECONDS = 0.02
"""Seconds between two attempts to reach a monitor that is being replaced."""
PROGRESS_SECONDS = 0.1
"""Seconds between two ``Notified`` while more is to be called."""


class Notifier:
    """Calls one after the other, in order. ``find_row`` reads the row of a task by its id.

    ``functions``: the setting, which is asked before a hook is imported.
    """

    def __init__(
        self,
        incarnation: Incarnation,
        board: Scoreboard,
        control: ControlPipe,
        reporters: ErrorReporters,
        find_row: Callable[[str], Any],
        functions: tuple[str, ...] = ALL_FUNCTIONS,
        find_tracked: Callable[[str], TrackedTask | None] = lambda task_id: None,
    ) -> None:
        self._incarnation, self._board, self._control = incarnation, board, control
        self._reporters, self._find, self._functions = reporters, find_row, functions
        self._find_tracked = find_tracked
        self._client = IpcClient(incarnation.runtime_dir.monitor_socket)
        self._cleanup, self._initial = TaskCleanup(), InitialContext()
        self._waiting: deque[tuple[int, Outcome]] = deque()
        self._stop_received = False
        self._answered_at = 0.0

    def run(self) -> None:
        """Run until the monitor or the sentinel requests a stop."""
        self._board.set(self._incarnation.row, STATE, ProcessState.IDLE)
        while not self._finished:
            self.tick()
        self._board.set(self._incarnation.row, STATE, ProcessState.STOPPING)
        self._reporters.flush()
        self.disconnect()

    def disconnect(self) -> None:
        """Close the connection. Also called in a child that a hook forks: a copy would hide our death."""
        self._client.close()

    @property
    def _finished(self) -> bool:
        """Whether to exit. What was not begun is sent to the next notifier."""
        return self._control.stop_requested or (self._stop_received and not self._waiting)

    def tick(self) -> None:
        self._board.report_alive(self._incarnation.row)
        self._connect()
        self._receive()
        if self._waiting:
            self._call_next()
        else:
            self._wait()

    def _connect(self) -> None:
        if not self._client.connected and self._client.connect():
            row = self._incarnation.row
            self._send(NotifierHello(self._incarnation.number, row, self._board.get(row, BEGUN)))

    def _receive(self) -> None:
        for message in self._client.receive():
            match message:
                case Notify(first, outcomes):
                    self._waiting.extend(enumerate(outcomes, first))
                case Stop():
                    self._stop_received = True

    def _send(self, message: Message) -> None:
        try:
            self._client.send(message)
        except ConnectionLost:
            return  # told to the next monitor by ``NotifierHello``

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self._control.fileno(), select.POLLIN)
        if self._client.connected:
            poll.register(self._client.fileno(), select.POLLIN)
        poll.poll((MAX_WAIT_SECONDS if self._client.connected else RECONNECT_SECONDS) * 1000)

    # ── calling ──────────────────────────────────────────────────────────────────────────────────

    def _call_next(self) -> None:
        number, outcome = self._waiting.popleft()
        row, now = self._incarnation.row, time.monotonic()
        self._cleanup.prepare(now)
        self._board.begin_job(row, number, now, now + HOOK_TIMEOUT)
        if post_execute.receivers:
            self._call(number, outcome, "post_execute", HOOK_TIMEOUT, notify_receivers, outcome)
        if has_row_receivers():
            self._call(number, outcome, "post_save", HOOK_TIMEOUT, send_post_save, outcome, self._row_of, HOOK_TIMEOUT)
        if has_hook(outcome):
            hook = str(outcome.options["hook"])
            self._call(number, outcome, hook, HOOK_TIMEOUT, run_hook, outcome, self._row_of, self._functions)
        if is_unannounced(outcome):
            self._call(number, outcome, "task_finished", HOOK_TIMEOUT, self._announce, outcome)
        if outcome.status != OutcomeStatus.SUCCESS and self._reporters:
            limit = REPORT_TIMEOUT * len(self._reporters)
            self._call(number, outcome, "reporters", limit, self._reporters.report_outcome, outcome)
        self._board.finish_job(row)
        if not self._waiting or time.monotonic() - self._answered_at > PROGRESS_SECONDS:
            self._answered_at = time.monotonic()
            self._send(Notified(number))

    def _call(
        self, number: int, outcome: Outcome, what: str, limit: float, call: Callable[..., None], *args: object
    ) -> None:
        """Call with a deadline for the sentinel and in a fresh context, and clean up afterwards."""
        self._board.set_deadline(self._incarnation.row, time.monotonic() + limit)
        self._board.write_task_info(self._incarnation.row, number, outcome.id, outcome.name, what)
        self._initial.run(call, *args)
        self._cleanup()

    def _announce(self, outcome: Outcome) -> None:
        """Tell receivers of Django's framework about the end of a task; one that fails is logged."""
        try:
            with soft_timeout(HOOK_TIMEOUT):
                announce_end(outcome, self._find_tracked)
        except BaseException as error:  # noqa: BLE001  a receiver that exits, the timeout, or a task that is gone
            RECEIVER_INTERRUPTED.log(
                task_id=outcome.id,
                task_name=outcome.name,
                correlation_id=outcome.correlation_id,
                error=error,
                exc_info=True,
            )

    def _row_of(self, task_id: str) -> Any:
        """The row of a task. If an earlier hook has altered the session (role, search path), over a new one."""
        try:
            row = self._find(task_id)
        except StoreUnavailable:
            row = None
        if row is None and any(each.connection is not None for each in connections.all(initialized_only=True)):
            connections.close_all()
            return self._find(task_id)
        return row
