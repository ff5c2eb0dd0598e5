"""Whether there is nothing left to do, for a cluster that works until its queue is empty (``qcluster --until-empty``).

No process knows it alone. The pusher sees that nothing is leased and nothing ready, the monitor that everything is
recorded and every hook called, the scheduler that everything that was due has been sent. Each writes since when. What
the monitor or the scheduler did last may have sent another task, so the pusher has to check the queue after that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from django_cluster.brokers.base import Broker
from django_cluster.brokers.multi_queue import MultiQueueBroker
from django_cluster.cluster.ipc.scoreboard import Scoreboard
from django_cluster.cluster.ipc.words import PAUSED_QUEUES, UNTIL_EMPTY

SIZE_CHECK_SECONDS = 0.25
"""Seconds between two queries of the size of the queue."""
ESTIMATE_SECONDS = 10.0
"""Seconds for which a queue must appear empty whose size the server only estimates."""


def is_cluster_idle(pushers: Sequence[float], others: Sequence[float]) -> bool:
    """Whether the cluster has nothing left to do.

    ``pushers``, ``others``: moments since which each process has had nothing to do; 0 = it may have something.
    """
    return bool(pushers) and all(pushers) and all(others) and min(pushers) > max(others, default=0.0)


class IdleReporter:
    """Writes since when one process is idle. Does nothing in clusters without ``--until-empty``."""

    def __init__(self, board: Scoreboard, row: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.wanted = bool(board.cluster_word(UNTIL_EMPTY))
        self._board, self._row, self._clock = board, row, clock
        self._idle = False

    def note(self, *, idle: bool) -> None:
        """Call it before something is done that other processes may notice, and after it."""
        if self.wanted and idle != self._idle:
            self._idle = idle
            self._board.set_idle_since(self._row, self._clock() if idle else 0.0)


class EmptyQueueDetector:
    """The part of the pusher: writes since when the queue is empty."""

    def __init__(
        self, board: Scoreboard, row: int, broker: Broker, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.wanted = bool(board.cluster_word(UNTIL_EMPTY))
        self._board, self._row, self._broker, self._clock = board, row, broker, clock
        self._look_at = 0.0
        self._empty_since: float | None = None

    def check(self, *, holds: bool) -> None:
        """Query the size of the queue if it is due. ``holds``: whether anything is leased. Raises ``BrokerError``."""
        now = self._clock()
        if holds:
            self._empty_since = None
            self._board.set_idle_since(self._row, 0.0)
        elif now >= self._look_at:
            self._look_at = now + SIZE_CHECK_SECONDS
            if self._ready():
                self._empty_since = None
                self._board.set_idle_since(self._row, 0.0)
                return
            self._empty_since = now if self._empty_since is None else self._empty_since
            needed = 0.0 if self._broker.capabilities.exact_size else ESTIMATE_SECONDS
            if now - self._empty_since >= needed:
                self._board.set_idle_since(self._row, now - needed)

    def _ready(self) -> int:
        """How many messages could be leased now. A paused queue has none."""
        members = self._broker.members if isinstance(self._broker, MultiQueueBroker) else [self._broker]
        paused = self._board.cluster_word(PAUSED_QUEUES)
        return sum(member.size().ready for place, member in enumerate(members) if not paused >> place & 1)
