"""What a broker cannot do by itself: refused before sending, or done for it.

Unsupported priorities and payloads that are too large are refused before anything is sent. A delay that is longer than
the server can keep waits in the *delay queue*, a queue of the database with its own name. The scheduler of a cluster
that works on the queue moves messages that have become due (``lifecycle/queue_transfer.py``).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from django_cluster.brokers.base import Broker, Message
from django_cluster.core.queue_names import delay_queue_in_table
from django_cluster.core.settings import BrokerSettings
from django_cluster.errors import NotSupported

Item = TypeVar("Item")


class Publisher:
    """Takes any messages for one queue: refuses what the broker cannot do, and keeps what it cannot delay."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self._limited = broker.capabilities.limited
        self._delay_queue: Broker | None = None

    def check(self, messages: Sequence[Message]) -> None:
        """Raises ``NotSupported`` or ``PayloadTooLarge``, so that nothing is sent where something cannot be."""
        if self._limited:
            check_supported(messages, self.broker)

    def publish_unique(self, messages: Sequence[Message], names: Sequence[str]) -> None:
        """Publish like ``publish``; those whose names are remembered are passed over, by a broker that can remember."""
        if self._limited:
            self.publish(messages)
            return
        size = self.broker.capabilities.bulk
        for some, theirs in zip(chunks(messages, size), chunks(names, size), strict=True):
            self.broker.enqueue_unique(some, theirs)

    def publish(self, messages: Sequence[Message]) -> None:
        """In as few round trips as the broker allows; up to ``capabilities.bulk`` messages all or none."""
        if self._limited:
            messages, late = split_by_delay(messages, self.broker.capabilities.longest_delay, time.time())
            self._keep(late)
        for chunk in chunks(messages, self.broker.capabilities.bulk):
            self.broker.enqueue(chunk)

    def _keep(self, messages: Sequence[Message]) -> None:
        """Until they are due."""
        if messages:
            self._delay_queue = self._delay_queue or delay_queue(self.broker.settings)
            self._delay_queue.enqueue(messages)


def chunks(items: Sequence[Item], size: int) -> Iterable[Sequence[Item]]:
    """``items`` in pieces of at most ``size``."""
    return (items[start : start + size] for start in range(0, len(items), size))


def check_supported(messages: Sequence[Message], broker: Broker) -> None:
    """Raises ``NotSupported`` or ``PayloadTooLarge`` for the first message that this broker cannot take."""
    able, name = broker.capabilities, broker.title
    if not able.priority and (urgent := next((each for each in messages if each.priority), None)):
        raise NotSupported(
            f"{name} has no priorities, and the task asks for {urgent.priority}: "
            "use a queue of its own for what is urgent, or another broker."
        )
    broker.check_size(messages)


def split_by_delay(
    messages: Sequence[Message], longest_delay: float, now: float
) -> tuple[list[Message], list[Message]]:
    """(what the broker can be given now, what has to wait in the delay queue)."""
    latest = now + longest_delay
    sent: list[Message] = []
    kept: list[Message] = []
    for message in messages:
        late = message.not_before is not None and message.not_before > max(latest, now)
        (kept if late else sent).append(message)
    return sent, kept


def delay_queue(section: BrokerSettings) -> Broker:
    """The delay queue of this queue: a queue of the database for delays that its own broker cannot keep."""
    from django_cluster.brokers.orm import OrmBroker

    name = delay_queue_in_table(section.name, section.alias, section.queue)
    section = replace(section, kind="orm", class_path="", options={}, queue=name)
    return OrmBroker(section)
