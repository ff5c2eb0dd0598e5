"""Our messages as RabbitMQ carries them, and the queues they are sent to: the one of the tasks, and those of delays."""

from __future__ import annotations

import hashlib
import math
import time
import uuid
from collections.abc import Sequence
from typing import Any

import amqp

from django_cluster.brokers.messages import payload_from
from django_cluster.brokers.rabbitmq_connection import RabbitConnection
from django_cluster.brokers.rabbitmq_unacked import MESSAGE_ID, ReceivedMessage
from django_cluster.core.time import is_unix_time

SHORT_DELAY_SECONDS = 2.0
"""Seconds: a message that is due so soon waits where it has arrived, and not in a queue of delays."""
DELAY_QUEUE_SECONDS = tuple(1 << power for power in range(1, 17))
"""Seconds (up to 18 hours) for which the queues of delays keep a message; most delays pass through several."""
PROBE_SECONDS = 1.0, 60.0
"""Seconds until the second look whether others have made the queues of delays, and the most between two. Each look in
vain doubles them, because RabbitMQ logs it."""

OutgoingMessage = tuple[int, amqp.Message]
"""Seconds of the queue of delays (0: the queue itself), and what is sent."""


class RabbitPublisher:
    """Publishes to one queue, immediately or through delay queues."""

    def __init__(self, queue: str, *, quorum: bool) -> None:
        self.queue = queue
        self._quorum = quorum
        self._delays = False
        self._probe_at = 0.0
        self._probe_after = PROBE_SECONDS[0]

    def send(self, connection: RabbitConnection, copies: Sequence[OutgoingMessage]) -> None:
        """Returns when all are confirmed."""
        connection.declare(self.queue, {})
        if any(level for level, _ in copies):
            for level in DELAY_QUEUE_SECONDS:  # all of them or none, so that one look tells whether they are there
                connection.declare(self._delay_queue(level), self._delay_arguments(level))
            self._delays = True
        connection.publish([(self._delay_queue(level) if level else self.queue, message) for level, message in copies])

    def delayed(self, connection: RabbitConnection) -> int:
        """How many grow old."""
        total = 0
        for level in DELAY_QUEUE_SECONDS if self._has_delays(connection) else ():
            count = connection.count(self._delay_queue(level))
            if count is None:  # another program has deleted them
                self._delays = False
                break
            total += count
        return total

    def delete_delays(self, channel: Any, *connections: RabbitConnection) -> int:
        """The queues with all that is in them; returns how many messages that were."""
        total = sum(int(channel.queue_delete(self._delay_queue(level)) or 0) for level in DELAY_QUEUE_SECONDS)
        for connection in connections:
            for level in DELAY_QUEUE_SECONDS:
                connection.forget_queue(self._delay_queue(level))
        self._delays = False
        return total

    def _has_delays(self, connection: RabbitConnection) -> bool:
        if not self._delays and time.monotonic() >= self._probe_at:
            self._probe_at = time.monotonic() + self._probe_after
            self._probe_after = min(2 * self._probe_after, PROBE_SECONDS[1])
            self._delays = connection.count(self._delay_queue(DELAY_QUEUE_SECONDS[-1])) is not None
        return self._delays

    def _delay_queue(self, level: int) -> str:
        return f"{self.queue}.delay.{level}"

    def _delay_arguments(self, level: int) -> dict[str, Any]:
        """Everything in such a queue stays equally long, so what came first goes first."""
        arguments: dict[str, Any] = {
            "x-message-ttl": level * 1000,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": self.queue,
        }
        if self._quorum:  # a message leaves only when the other queue has confirmed it
            arguments |= {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}
        return arguments


def outgoing(payload: str, earlier: int, not_before: float, *, name: str = "") -> OutgoingMessage:
    """A message with the attempts behind it and the moment before which it waits.

    ``name``: what it is a copy of, or the name of what is sent only once. Two messages of one name have one id, by
    which the second is known where the first has come; without a name, a message has an id of its own.
    """
    headers: dict[str, Any] = {"attempts": earlier}
    if name:
        headers["named"] = True
    if not_before > 0:
        headers["not_before"] = float(not_before)
    message = amqp.Message(payload, message_id=id_of(name), delivery_mode=2, application_headers=headers)
    return level_of(not_before - time.time()), message


def id_of(name: str) -> str:
    """32 hexadecimal digits, for one name always the same; random ones without a name."""
    return hashlib.sha256(name.encode()).hexdigest()[:32] if name else uuid.uuid4().hex


def level_of(seconds: float) -> int:
    """The delay queue for a message that is due in ``seconds``; 0: the queue itself."""
    if seconds <= SHORT_DELAY_SECONDS:
        return 0
    return int(1 << min(int(math.log2(seconds)), len(DELAY_QUEUE_SECONDS)))


def received(message: amqp.Message) -> ReceivedMessage:
    """A delivered message. Other programs may have written properties of any type."""
    headers = message.headers
    if not isinstance(headers, dict):
        headers = {}
    body = message.body
    info = message.delivery_info
    returned = headers.get("x-delivery-count", int(bool(info["redelivered"])))
    name = str(message.properties.get("message_id", ""))
    return ReceivedMessage(
        id=name if MESSAGE_ID.fullmatch(name) else uuid.uuid4().hex,
        payload=payload_from(body),
        earlier=_count(headers.get("attempts")) + _count(returned),
        not_before=_moment(headers.get("not_before")),
        tag=info["delivery_tag"],
        redelivered=bool(info["redelivered"]),
        named=bool(headers.get("named")),
    )


def _count(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value < 1_000_000_000 else 0


def _moment(value: Any) -> float:
    return float(value) if is_unix_time(value) else 0.0
