"""Decide by the clock of the test process which queued tasks are due, and make them ready at the broker.

A test may stop or move the clock of its process (freezegun, time-machine). The server of a broker has a clock of its
own, which no test moves. So what is due is decided here: by the moment that the task was given when it was sent, and
for a later attempt by the moment at which the one before has ended.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from django_cluster.brokers.base import Broker
from django_cluster.brokers.messages import Message, QueuedMessage
from django_cluster.brokers.publisher import delay_queue
from django_cluster.client.client import Client
from django_cluster.core.codec import peek_header
from django_cluster.core.messages import Outcome, OutcomeStatus, TaskHeader
from django_cluster.errors import NotSupported, PackageError
from django_cluster.lifecycle.retry_policy import decide_retry

MANY = 10_000
"""More than a test has in a queue."""

_next_attempts: dict[str, float] = {}
"""Due times, by the clock of the test, of tasks that a test has run and that have another attempt."""


@dataclass(slots=True)
class MovableClock:
    """The clock of the test process, which ``advance`` sets forward for the decision what may run now.

    ``time.time`` itself is not changed.
    """

    until: float = 0.0
    """Unix time up to which the clock may be set forward; 0 = it is not."""
    delayed: bool = False
    """Whether tasks that are delayed may run before their time."""
    retries: bool = False
    """Whether later attempts may run before their time."""
    moved_to: float = 0.0
    """Unix time to which the clock was set forward."""

    def now(self) -> float:
        """Unix time."""
        return max(time.time(), self.moved_to)

    def allows(self, header: TaskHeader, due: float | None = None) -> bool:
        """Whether a task may run now. ``due``: due time by the clock of the broker; None: now."""
        if header.id in _next_attempts:
            return self.retries or _next_attempts[header.id] <= self.now()
        if header.options.not_before is not None:
            return self.delayed or header.options.not_before <= self.now()
        return due is None or self.retries or due <= self.now()

    def will_run(self, due: float) -> bool:
        """Whether a later attempt that is due then is run, too."""
        return self.retries or due <= self.until

    def advance(self, due: list[float]) -> bool:
        """Set the clock forward to the first of these moments that is not after ``until``; whether there is one."""
        coming = [moment for moment in due if self.now() < moment <= self.until]
        self.moved_to = min(coming, default=self.moved_to)
        return bool(coming)


def due_of(header: TaskHeader, due: float | None) -> float:
    """When a task is due by the clock of the test. ``due``: by the clock of the broker."""
    return _next_attempts.get(header.id, header.options.not_before or due or 0.0)


def note_next_attempt(client: Client, outcome: Outcome, now: float) -> float | None:
    """Remember when the task is due again; returns that moment, None if this was its last run.

    Call it before the outcome is recorded: worker deaths that were recorded before count.
    """
    deaths = client.results.deaths([outcome]) if outcome.status == OutcomeStatus.LOST else {}
    delay = decide_retry(outcome, client.settings.delivery, deaths=deaths.get(outcome.id, 0), jitter=lambda: 1.0).delay
    if delay is None:
        _next_attempts.pop(outcome.id, None)
        return None
    _next_attempts[outcome.id] = now + delay
    return now + delay


def make_ready(broker: Broker, clock: MovableClock) -> int:
    """Make the delayed tasks ready that may run, ordered by their due time; returns their number."""
    count = 0
    for place in _places(broker):
        for waiting in sorted(_delayed(place, clock), key=lambda each: each.due or 0.0):
            if place.cancel([waiting.key]):
                broker.enqueue([Message(waiting.payload, waiting.priority, None, waiting.attempts)])
                count += 1
    return count


def coming(broker: Broker) -> list[float]:
    """When the delayed tasks of this queue are due, by the clock of the test."""
    return [
        due_of(header, waiting.due)
        for place in _places(broker)
        for waiting in _waiting(place)
        if (header := _header(waiting)) is not None
    ]


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


def _waiting(broker: Broker) -> list[QueuedMessage]:
    return [each for each in broker.peek(MANY) if each.due is not None and not each.leased]


def _delayed(broker: Broker, clock: MovableClock) -> Iterator[QueuedMessage]:
    for waiting in _waiting(broker):
        header = _header(waiting)
        if header is not None and clock.allows(header, waiting.due):
            yield waiting


def _header(waiting: QueuedMessage) -> TaskHeader | None:
    """None for a message that will be rejected when it is leased."""
    try:
        return peek_header(waiting.payload)
    except PackageError:
        return None
