"""Recorded outcomes whose hooks, receivers and error reporters the notifier is to call, in order.

The monitor waits for none of these calls. A notifier that hangs, or is too slow, fills the backlog. What that costs is
bounded (``BACKPRESSURE_SECONDS`` for each batch that is recorded), and what no longer fits is dropped and logged.
"""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from django_cluster.cluster.ipc.protocol import Notify, Stop
from django_cluster.cluster.ipc.scoreboard import Scoreboard
from django_cluster.cluster.ipc.server import ClientConnection
from django_cluster.cluster.ipc.words import BEGUN, NOTIFIER_NEEDED, SENTINEL
from django_cluster.core.events.processes import NOTIFICATIONS_DROPPED
from django_cluster.core.events.tasks import TASK_SUCCEEDED
from django_cluster.core.messages import Outcome, OutcomeStatus
from django_cluster.lifecycle.error_reporting import is_unreported
from django_cluster.lifecycle.framework_ends import is_unannounced
from django_cluster.lifecycle.notification import has_hook, log_failure, log_success
from django_cluster.lifecycle.row_receivers import has_row_receivers
from django_cluster.signals import post_execute

MAX_BACKLOG = 10_000
"""Most outcomes that wait for the notifier."""
MAX_BACKLOG_BYTES = 64_000_000
"""Most bytes of their arguments and results."""
MAX_IN_FLIGHT = 128
"""Most outcomes that the notifier holds."""
BACKPRESSURE_SECONDS = 1.0
"""Seconds by which the recording of each batch is delayed while the backlog is full."""
STOP_SECONDS = 5.0
"""Seconds that a stop waits for hooks, after everything is recorded."""


class Notifications:
    """Sends outcomes to the notifier, which is started when there is something for it to call."""

    def __init__(
        self, board: Scoreboard, *, reports: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``reports``: whether there are error reporters, which are called for failures that no worker could report."""
        self._board, self._reports, self._clock = board, reports, clock
        self._waiting: deque[Outcome] = deque()
        self._sent: deque[tuple[int, Outcome]] = deque()
        self._bytes = 0
        self._connection: ClientConnection | None = None
        self._incarnation = self._row = self._number = 0
        self._full_since: float | None = None
        self._stop_at: float | None = None

    # ── from the recorder ────────────────────────────────────────────────────────────────────────

    def add(self, outcomes: Sequence[Outcome]) -> None:
        """Log what was recorded, and keep the outcomes for which something is to be called."""
        listened, dropped = bool(post_execute.receivers) or has_row_receivers(), 0
        verbose = TASK_SUCCEEDED.enabled
        for outcome in outcomes:
            succeeded = outcome.status == OutcomeStatus.SUCCESS
            if not succeeded:
                log_failure(outcome)
            elif verbose:
                log_success(outcome)
            if listened or has_hook(outcome) or (not succeeded and self._is_told(outcome)):
                if self.full:
                    dropped += 1
                else:
                    self._waiting.append(outcome)
                    self._bytes += _size(outcome)
        if dropped:
            NOTIFICATIONS_DROPPED.log(count=dropped, reason="the backlog of the notifier is full")
        if self._waiting:
            self._ask_for_notifier()
            self._send()

    def _is_told(self, outcome: Outcome) -> bool:
        """Whether a failure is told to error reporters, or to receivers of the signals of Django's framework."""
        return (self._reports and is_unreported(outcome)) or is_unannounced(outcome)

    @property
    def left(self) -> int:
        """For how many outcomes something is still to be called."""
        return len(self._waiting) + len(self._sent)

    @property
    def full(self) -> bool:
        return len(self._waiting) >= MAX_BACKLOG or self._bytes >= MAX_BACKLOG_BYTES

    def throttled(self) -> bool:
        """Whether the next batch should be recorded later, so that nothing has to be dropped."""
        if not self.full:
            self._full_since = None
            return False
        now = self._clock()
        if self._full_since is None:
            self._full_since = now
        if now - self._full_since < BACKPRESSURE_SECONDS:
            return True
        self._full_since = None
        return False

    def _ask_for_notifier(self) -> None:
        if not self._board.cluster_word(NOTIFIER_NEEDED):
            self._board.set_cluster_word(NOTIFIER_NEEDED, 1)
            with suppress(OSError):  # wakes the sentinel: it handles this signal in every phase
                if sentinel := self._board.cluster_word(SENTINEL):
                    os.kill(sentinel, signal.SIGCHLD)

    # ── to and from the notifier ─────────────────────────────────────────────────────────────────

    @property
    def connections(self) -> set[ClientConnection]:
        """The connection of the notifier, if there is one; a stop does not wait for its end."""
        return set() if self._connection is None else {self._connection}

    def attach(self, connection: ClientConnection, incarnation: int, row: int, begun: int) -> None:
        """A notifier has connected. The successor of a dead one is sent what that one had not begun."""
        if incarnation != self._incarnation and self._sent:
            begun_before = self._board.get(self._row, BEGUN)
            left = [outcome for number, outcome in self._sent if number > begun_before]
            self._sent.clear()
            self._waiting.extendleft(reversed(left))
            self._bytes += sum(map(_size, left))
        self._connection, self._incarnation, self._row = connection, incarnation, row
        self._number = max(self._number, begun)
        self.done(begun)

    def done(self, number: int) -> None:
        """Everything up to this number has been called."""
        while self._sent and self._sent[0][0] <= number:
            self._sent.popleft()
        self._send()

    def detach(self, connection: ClientConnection) -> None:
        if connection is self._connection:
            self._connection = None

    def _send(self) -> None:
        room = min(MAX_IN_FLIGHT - len(self._sent), len(self._waiting))
        if self._connection is None or room <= 0:
            return
        batch = [self._waiting.popleft() for _ in range(room)]
        first = self._number + 1
        self._number += room
        self._bytes -= sum(map(_size, batch))
        self._sent.extend(enumerate(batch, first))
        self._connection.send(Notify(first, batch))

    # ── the end ──────────────────────────────────────────────────────────────────────────────────

    def finished(self) -> bool:
        """Whether nothing is left to call, or its time is up. Called in each turn when everything is recorded."""
        left = self.left
        if not left and self._connection is None:
            return True
        if self._stop_at is None:
            self._stop_at = self._clock() + STOP_SECONDS
        if self._clock() >= self._stop_at:
            if left:
                NOTIFICATIONS_DROPPED.log(count=left, reason="the cluster stops")
            return True
        if not left and self._connection is not None and self._board.cluster_word(NOTIFIER_NEEDED):
            self._board.set_cluster_word(NOTIFIER_NEEDED, 0)  # it is not to be replaced
            self._connection.send(Stop())
        return False


def _size(outcome: Outcome) -> int:
    return len(outcome.arguments or b"") + len(outcome.result or b"")
