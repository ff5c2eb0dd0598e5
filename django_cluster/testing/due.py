"""Decide by the clock of the test process which queued tasks are due, and make them ready at the broker.

A test may stop or move the clock of its process (freezegun, time-machine). The server of a broker has a clock of its
own, which no test moves. So what is due is decided here: by the moment that the task was given when it was sent, and
for a later attempt by the moment at which the one before has ended.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from django_cluster.brokers.base import Broker, Message, QueuedMessage
from django_cluster.brokers.publisher import delay_queue
from django_cluster.client.client import Client
from django_cluster.core.codec import peek_header
from django_cluster.core.messages import Outcome, TaskHeader
from django_cluster.errors import NotSupported, PackageError
from django_cluster.lifecycle.retry_policy import decide_retry

MANY = 10_000
"""More than a test has in a queue."""

_next_attempts: dict[str, float] = {}
"""Due times, by the clock of the test, of tasks that a test has run and that have another attempt."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Decides what may run now."""

    delayed: bool = False
    """Whether tasks that are delayed may run before their time."""
    retries: bool = False
    """Whether later attempts may run before their time."""

    def allows(self, header: TaskHeader, due: float | None = None) -> bool:
        """Whether a task may run now. ``due``: due time by the clock of the broker; None: now."""
        if header.id in _next_attempts:
            return self.retries or _next_attempts[header.id] <= time.time()
        if header.options.not_before is not None:
            return self.delayed or header.options.not_before <= time.time()
        return due is None or self.retries or due <= time.time()


def note_next_attempt(client: Client, outcome: Outcome) -> float | None:
    """Remember when the task is due again; returns in how many seconds, None if this was its last run."""
    delay = decide_retry(outcome, client.settings.delivery, jitter=lambda: 1.0).delay
    if delay is None:
        _next_attempts.pop(outcome.id, None)
    else:
        _next_attempts[outcome.id] = time.time() + delay
    return delay


def make_ready(client: Client, clock: Clock) -> int:
    """Make the delayed tasks ready that may run, ordered by their due time; returns their number."""
    broker, count = client.broker, 0
    for place in _places(broker):
        for waiting in _delayed(place, clock):
            if place.cancel([waiting.key]):
                broker.enqueue([Message(waiting.payload, waiting.priority, None, waiting.attempts)])
                count += 1
    return count


def refuse_to_leave_delayed(broker: Broker) -> None:
    """Raise ``NotSupported`` if the server delays something, and does not give it out before its time."""
    if not broker.capabilities.cancel and (count := broker.size().delayed):
        raise NotSupported(
            f"{broker.title} delays {count} tasks and gives none of them out before its time: let tests that need it"
            " use the broker 'memory' or 'orm'."
        )


def _places(broker: Broker) -> Iterator[Broker]:
    """Where delayed tasks of this queue are kept, and can be taken out."""
    if broker.capabilities.cancel:
        yield broker
    if broker.capabilities.longest_delay < float("inf"):
        yield delay_queue(broker.settings)


def _delayed(broker: Broker, clock: Clock) -> list[QueuedMessage]:
    found = [each for each in broker.peek(MANY) if each.due is not None and not each.leased]
    return sorted((each for each in found if _may_run(each, clock)), key=lambda each: each.due or 0.0)


def _may_run(waiting: QueuedMessage, clock: Clock) -> bool:
    try:
        return clock.allows(peek_header(waiting.payload), waiting.due)
    except PackageError:
        return False  # it will be rejected when it is leased
