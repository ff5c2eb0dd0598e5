"""What a worker does with a task whose function is paused: it goes back into its queue, to come again later.

No broker can leave out some functions when it leases, so a paused task is leased, looked at, and returned with a delay.
That takes a fraction of a millisecond, costs no attempt, and lets the tasks behind it pass. With many paused tasks the
delay grows, so that a worker returns no more than about ``RETURNS_PER_SECOND`` of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from django_cluster.cluster.ipc.scoreboard import Scoreboard
from django_cluster.cluster.ipc.shared_hashes import text_hash

MIN_DELAY, MAX_DELAY = 5.0, 640.0
"""Seconds after which a paused task is looked at again: few of them soon, many of them later."""
RETURNS_PER_SECOND = 50


class PausedTasks:
    """The functions that are paused now, as the monitor has written them on the scoreboard."""

    def __init__(self, board: Scoreboard, clock: Callable[[], float] = time.monotonic) -> None:
        self._board, self._clock = board, clock
        self._version = 0
        self._hashes: frozenset[int] = frozenset()
        self._delay = MIN_DELAY
        self._returned, self._since = 0, clock()

    def delay_of(self, func: str) -> float | None:
        """Seconds after which a task of this function is to come again; None if the function may be run."""
        version = self._board.paused.version
        if version != self._version:
            found = self._board.paused.hashes()
            if found is not None:  # else it is just being written: the next task looks again
                self._version, self._hashes = version, found
        if not self._hashes or text_hash(func) not in self._hashes:
            return None
        return self._next_delay()

    def _next_delay(self) -> float:
        """Twice as long when too many came back within it, half as long when few did.

        There are few values, so that tasks that are returned together go in one call.
        """
        now = self._clock()
        if now - self._since >= self._delay:
            if self._returned < RETURNS_PER_SECOND * self._delay / 4:
                self._delay = max(MIN_DELAY, self._delay / 2)
            self._returned, self._since = 0, now
        self._returned += 1
        if self._returned > RETURNS_PER_SECOND * self._delay:
            self._delay = min(MAX_DELAY, self._delay * 2)
        return self._delay
