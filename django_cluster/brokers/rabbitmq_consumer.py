"""How messages come from a queue of RabbitMQ: one by one with basic.get, or pushed to a consumer.

A quorum queue takes back messages that are on their way when a consumer is cancelled, counts an attempt and delivers
them again, and then it is unknown whether they run. So a consumer is cancelled when it has received as many
unacknowledged messages as it asked for. To wait, it asks for one message; the others are fetched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import amqp

from django_cluster.brokers.rabbitmq_connection import RabbitConnection

MAX_SINGLE_GETS = 4
"""Most messages that are fetched one by one; more of them are pushed."""
STREAM_IDLE_SECONDS = 0.05
"""Seconds without a message after which the rest of a batch is not waited for: other clusters may have it."""


class RabbitConsumer:
    """Hands each message that comes to ``receive``. Errors of ``amqp`` pass through: the caller has a word for them."""

    def __init__(self, connection: RabbitConnection, queue: str, receive: Callable[[amqp.Message], None]) -> None:
        self._connection, self._queue, self._receive = connection, queue, receive
        self._channel: Any = None
        self._tag = ""
        self._wanted = 0
        self._unsettled: set[int] = set()
        """Tags of what the stream has brought."""

    def begin(self, channel: Any) -> None:
        """This channel is new: a stream of an earlier one has ended with it."""
        self._channel, self._tag = channel, ""

    @property
    def is_consuming(self) -> bool:
        """Whether the server pushes what comes into the queue."""
        return bool(self._tag)

    @property
    def waits_for_one(self) -> bool:
        """Whether it pushes a single message."""
        return self.is_consuming and self._wanted == 1

    def fetch(self, missing: Callable[[], int]) -> None:
        """Ask for messages until none is missing, or there are none; some that come do not count.

        Where the last of them are slow to come, a stream is left open for them.
        """
        while missing() > 0:
            message = self._channel.basic_get(self._queue)
            if message is None:
                return
            self._receive(message)
            left = min(int(message.delivery_info["message_count"]), missing())
            if left >= MAX_SINGLE_GETS and not self._fill(left):
                return

    def _fill(self, wanted: int) -> bool:
        """Consume this many messages; returns whether all came and the consumer has ended."""
        self._start(wanted)
        while self.read(STREAM_IDLE_SECONDS):
            if not self._tag:
                return True
        return False

    def wait_for_one(self) -> None:
        """From now on the server tells us of what comes, by pushing the first of it."""
        self._start(1)

    def _start(self, wanted: int) -> None:
        self._channel.basic_qos(0, wanted, False)
        self._wanted = wanted
        self._unsettled.clear()
        self._tag = str(self._channel.basic_consume(self._queue, callback=self._arrive))

    def _arrive(self, message: amqp.Message) -> None:
        self._unsettled.add(message.delivery_info["delivery_tag"])
        self._receive(message)

    def read(self, patience: float) -> bool:
        """Read what the server has sent, waiting for its first word for so many seconds; whether the stream brought
        anything. A stream that is full ends."""
        before = len(self._unsettled)
        self._connection.drain(patience)
        came = len(self._unsettled) > before
        if len(self._unsettled) >= self._wanted:
            self.stop()
        return came

    def settled(self, tag: int) -> None:
        """This message is acknowledged: an open stream may bring another for it."""
        self._unsettled.discard(tag)

    def stop(self) -> None:
        """Cancel the consumer, if there is one. Unless it is full, messages on their way count as redelivered later."""
        if self._tag:
            consumer, self._tag = self._tag, ""
            self._channel.basic_cancel(consumer)
