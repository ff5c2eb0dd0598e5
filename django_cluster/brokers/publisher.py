"""What a broker cannot do by itself: refused before sending, or done for it.

Unsupported priorities and payloads that are too large are refused before anything is sent. A delay that is longer than
the server can keep waits in the *delay queue*, a queue of the database with its own name. The scheduler of a cluster
that works on the queue moves messages that have become due (``lifecycle/queue_transfer.py``).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from django_cluster.brokers.base import Broker
from django_cluster.brokers.messages import Message
from django_cluster.core.batching import batches
from django_cluster.core.queue_names import delay_queue_in_table
from django_cluster.core.row_insert import RowInsert
from django_cluster.core.settings import BrokerSettings
from django_cluster.errors import NotSupported


class Publisher:
    """Takes any messages for one queue: refuses what the broker cannot do, and keeps what it cannot delay."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self._limited = broker.capabilities.limited
        self._delay_queue: Broker | None = None

    def check(self, messages: Sequence[Message]) -> None:
        """Raise ``NotSupported`` or ``PayloadTooLarge`` if the broker cannot take one of the messages."""
        if self._limited:
            check_supported(messages, self.broker)

    def publish_unique(self, messages: Sequence[Message], names: Sequence[str]) -> None:
        """Publish each message, unless one of its name was published before (see ``Broker.enqueue_unique``)."""
        if self._limited:
            self.publish(messages)
            return
        size = self.broker.capabilities.bulk
        for batch, own in zip(batches(messages, most=size), batches(names, most=size), strict=True):
            self.broker.enqueue_unique(batch, own)

    def publish(self, messages: Sequence[Message]) -> None:
        """Publish the messages in few calls; up to ``capabilities.bulk`` of them all or none."""
        if self._limited:
            messages, late = split_by_delay(messages, self.broker.capabilities.longest_delay, time.time())
            self._keep(late)
        for batch in batches(messages, most=self.broker.capabilities.bulk):
            self.broker.enqueue(batch)

    def publish_with(self, messages: Sequence[Message], insert: RowInsert) -> bool:
        """Publish the messages together with a row (see ``Broker.enqueue_with``); False if nothing was done."""
        if self._limited or len(messages) > self.broker.capabilities.bulk:
            return False
        return self.broker.enqueue_with(messages, insert)

    def _keep(self, messages: Sequence[Message]) -> None:
        """Put messages into the delay queue."""
        if messages:
            self._delay_queue = self._delay_queue or delay_queue(self.broker.settings)
            self._delay_queue.enqueue(messages)


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
