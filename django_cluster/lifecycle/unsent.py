"""Sends the messages of tracked tasks that have not reached their broker: the sweeper.

Between the commit of a row and the sending of its message, the sender may die, or the broker may be unavailable. The
row keeps the message until the broker has it. A scheduler sends what has waited for longer than a lease. Should the
broker have it after all, the task is still run once: its second message is refused by its row.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from django_cluster.brokers.messages import Message
from django_cluster.brokers.publisher import Publisher
from django_cluster.core.events.tasks import TRACKED_SENT_AGAIN
from django_cluster.models import TrackedTask
from django_cluster.stores.tracked import TrackedTasks

SWEEP_SECONDS = 10.0
"""Seconds between two looks for messages that were not sent."""


class UnsentTasks:
    """The unsent messages of one queue."""

    def __init__(
        self,
        store: TrackedTasks,
        publisher: Publisher,
        *,
        queue: str,
        older_than: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``older_than``: seconds for which a message may be on its way."""
        self._store, self._publisher = store, publisher
        self._queue = queue
        self._older_than, self._clock = older_than, clock
        self._due_at = clock() + SWEEP_SECONDS

    def __call__(self) -> float:
        """Send what is due; returns the seconds until the next look. Raises ``StoreUnavailable`` and
        ``BrokerError``."""
        if self._clock() >= self._due_at:
            self.send()
            self._due_at = self._clock() + SWEEP_SECONDS
        return self._due_at - self._clock()

    def send(self) -> int:
        """Send what has waited too long; returns how many messages."""
        rows = self._store.unsent(self._older_than, self._queue)
        if not rows:
            return 0
        names = [row.id for row in rows]
        self._publisher.publish_unique([message_of(row) for row in rows], names)
        self._store.note_sent(names)
        TRACKED_SENT_AGAIN.log(count=len(rows))
        return len(rows)


def message_of(row: TrackedTask) -> Message:
    """The message that a row has kept."""
    not_before = None if row.run_after is None else row.run_after.timestamp()
    return Message(row.payload or "", row.priority, not_before)
