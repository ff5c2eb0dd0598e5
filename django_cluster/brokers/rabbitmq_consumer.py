"""How messages come from a queue of RabbitMQ to us: one by one on demand, or as a stream that the server pushes.

What is on its way while a stream is stopped, a quorum queue takes back, counts as an attempt and delivers again, and
then nobody knows whether it runs somewhere. So a stream is stopped when it is full: the server pushes no more than so
many messages that are not acknowledged. A stream of one is a bell: it brings one message, and we ask for the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import amqp

from django_cluster.brokers.rabbitmq_connection import RabbitConnection

MAX_SINGLE_GETS = 4
"""So many messages are fetched one by one; more of them as a stream."""
STREAM_IDLE_SECONDS = 0.05
"""Seconds without a message after which nobody waits for the rest of a stream: others may have been quicker."""


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
        """Whether a stream of so many is full, and has ended."""
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
        """End the stream, if there is one. Unless it is full, what is on its way comes as if it had been lent."""
        if self._tag:
            consumer, self._tag = self._tag, ""
            self._channel.basic_cancel(consumer)
