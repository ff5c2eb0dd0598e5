"""Reconnecting to a server that is unavailable: one log line, growing pauses, another line when it is available
again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from django_cluster.core.events.servers import BROKER, Outage

FIRST_DELAY_SECONDS = 0.1
MAX_DELAY_SECONDS = 5.0
PAUSE_FACTOR = 4
"""Factor by which a pause is longer than the attempt before it, where the attempt takes time from other servers."""


class ReconnectBackoff:
    """Remembers whether ``what`` is away, and when to try again."""

    def __init__(self, what: str, clock: Callable[[], float] = time.monotonic, events: Outage = BROKER) -> None:
        """``what``: the server, as the subject of a log line. ``events``: what is logged when an outage begins and
        ends."""
        self._what = what
        self._events = events
        self._clock = clock
        self._delay = 0.0
        self._since = 0.0
        self.retry_at = 0.0

    @property
    def failing(self) -> bool:
        return self._delay > 0

    @property
    def due(self) -> bool:
        """Whether to try now."""
        return self._clock() >= self.retry_at

    def failed(self, error: BaseException, took: float = 0.0) -> None:
        """The attempt has failed. ``took``: seconds that it has cost a process that serves other servers too; the next
        pause is ``PAUSE_FACTOR`` times as long, so that most of the time is left for them."""
        now = self._clock()
        if not self.failing:
            self._since = now
            self._events.begins.log(server=self._what, error=_reason(error))
        self._delay = min(self._delay * 2 or FIRST_DELAY_SECONDS, MAX_DELAY_SECONDS)
        jitter = random.uniform(0.75, 1.0)  # noqa: S311  not a secret
        self.retry_at = now + max(self._delay, took * PAUSE_FACTOR) * jitter

    def recovered(self) -> None:
        if self.failing:
            self._events.ends.log(server=self._what, seconds=self._clock() - self._since)
        self._delay = self.retry_at = 0.0


def _reason(error: BaseException) -> str:
    text = first_line(error) or type(error).__name__
    return text.rstrip(".")


def first_line(error: BaseException) -> str:
    """First line of an error, without the statement that PostgreSQL shows below it."""
    return str(error).strip().partition("\n")[0]
