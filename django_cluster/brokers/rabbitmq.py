"""The queue in RabbitMQ, with publisher confirms.

There are two connections: one publishes, the other consumes, because only the channel that delivered a message can
acknowledge it. A lease lasts as long as that connection; see ``rabbitmq_unacked``. A message in the queue cannot be
changed: releasing it publishes a copy with its count of attempts, and then acknowledges the original. A process that is
killed in between leaves both.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import amqp

from django_cluster.brokers.base import Broker
from django_cluster.brokers.capabilities import Capabilities
from django_cluster.brokers.messages import Delivery, Message, QueuedMessage, QueueSize
from django_cluster.brokers.rabbitmq_connection import RabbitConnection
from django_cluster.brokers.rabbitmq_consumer import RabbitConsumer
from django_cluster.brokers.rabbitmq_options import RabbitOptions
from django_cluster.brokers.rabbitmq_publisher import SHORT_DELAY_SECONDS, RabbitPublisher, outgoing, received
from django_cluster.brokers.rabbitmq_unacked import (
    FORGET,
    ArrivalAction,
    Disposition,
    ReceivedMessage,
    UnackedMessage,
    UnackedMessages,
)
from django_cluster.core.queue_names import join_escaped
from django_cluster.core.settings import BrokerSettings

MIN_WAIT_SECONDS = 0.005
"""Seconds: for a shorter wait the server is only asked."""
RECLAIM_SECONDS = 0.2
"""Seconds between two looks for messages that are done and must come again to be acknowledged."""
MAX_FOREIGN = 500
"""Messages of others that such a look may come upon, before the next one goes on."""

CAPABILITIES = Capabilities(
    blocking=True,
    priority=False,
    peek=False,
    requeues_first=False,
    atomic=False,
    exact_size=False,
    portable_receipts=False,
)


class RabbitBroker(Broker):
    """A durable queue ``django_cluster.<namespace>.<queue>``, and beside it one for each delay that was needed."""

    capabilities = CAPABILITIES

    def __init__(self, settings: BrokerSettings) -> None:
        super().__init__(settings)
        options = RabbitOptions.of(settings.options, settings.lease)
        self._name = f"django_cluster.{join_escaped(settings.name, settings.queue, separator='.')}"
        self._publisher_connection = RabbitConnection(options, heartbeat=0, purpose="sends")
        self._consumer_connection = RabbitConnection(options, heartbeat=options.heartbeat, purpose="holds")
        self._publisher = RabbitPublisher(self._name, quorum=options.queue_type == "quorum")
        self._unacked = UnackedMessages(settings.lease)
        self._to_republish: list[tuple[UnackedMessage | ReceivedMessage, Disposition]] = []
        self._acks: list[ReceivedMessage] = []
        self._unconfirmed: list[str] = []
        """Messages whose acknowledgement is under way."""
        self._consumer = RabbitConsumer(self._consumer_connection, self._name, self._arrive)
        self._listening = False
        self._expire_at = 0.0
        self._reclaim_at = 0.0
        self._channel: Any = None
        self.capabilities = replace(CAPABILITIES, bulk=options.prefetch)

    def prepare(self) -> None:
        """Connect, and declare the queue."""
        with self._consumer_connection.errors():
            self._open()

    # ── sending ──────────────────────────────────────────────────────────────────────────────────

    def enqueue(self, messages: Sequence[Message]) -> None:
        """All are confirmed, or an error says that some may not have been kept."""
        if not messages:
            return
        with self._sending():
            copies = [outgoing(each.payload, each.attempts, each.not_before or 0.0) for each in messages]
            self._publisher.send(self._publisher_connection, copies)

    def enqueue_unique(self, messages: Sequence[Message], names: Sequence[str]) -> None:
        """See ``Broker.enqueue_unique``. RabbitMQ keeps both messages; a cluster that has leased the first drops the
        second."""
        if not messages:
            return
        with self._sending():
            copies = [
                outgoing(each.payload, each.attempts, each.not_before or 0.0, name=f"{self._name}:{name}")
                for each, name in zip(messages, names, strict=True)
            ]
            self._publisher.send(self._publisher_connection, copies)

    @contextmanager
    def _sending(self) -> Iterator[None]:
        """Replace a connection that was closed while it was idle: after publishing it would be unknown what was
        kept."""
        if self._publisher_connection.is_open:
            try:
                self._publisher_connection.drain(0.0)
            except (amqp.exceptions.AMQPError, OSError):
                self._publisher_connection.drop()
        with self._publisher_connection.errors():
            yield

    # ── leasing ──────────────────────────────────────────────────────────────────────────────────

    def lease(self, limit: int, wait: float = 0.0, *, not_after: float = math.inf) -> Sequence[Delivery]:
        if time.monotonic() >= not_after:
            return []
        deadline = min(time.monotonic() + wait, not_after)
        limit = min(limit, self.capabilities.bulk)
        leased: list[Delivery] = []
        with self._consumer_connection.errors():
            self._open()
            while time.monotonic() < not_after:  # later, what has expired may be the caller's own
                self._expire()
                self._collect(limit, min(deadline - time.monotonic(), self.settings.lease / 4))
                leased = [Delivery(each.receipt, each.message.payload, each.attempt) for each in self._lease(limit)]
                if leased or time.monotonic() >= deadline:
                    break
            if not self._listening and self._consumer.waits_for_one:
                self._stop_stream()
            return leased

    def _lease(self, limit: int) -> list[UnackedMessage]:
        return list(self._unacked.lease_ready(limit, time.monotonic()))

    def _open(self) -> None:
        """A connection with the queue declared; a new one brings everything again that is not acknowledged."""
        channel = self._consumer_connection.channel
        if channel is not self._channel:
            self._acks.clear()
            self._to_republish.clear()
            self._unacked.connection_lost()
            for message_id in self._unconfirmed:
                self._unacked.expect_again(message_id, time.monotonic())
            self._unconfirmed.clear()
            self._consumer_connection.declare(self._name, {})
            self._channel = self._consumer_connection.channel  # declaring may have cost the first one
            self._consumer.begin(self._channel)

    def _collect(self, limit: int, wait: float) -> None:
        """Get what is ready, and wait for it if there is nothing; some of what comes may have to wait here."""
        unacked, consumer = self._unacked, self._consumer
        unacked.promote(time.monotonic())

        def missing() -> int:
            return limit - len(unacked.ready)

        if missing() > 0:
            patience = max(0.0, min(wait, unacked.next_due() - time.monotonic()))
            if consumer.is_consuming:
                consumer.read(patience)
            if not consumer.is_consuming:
                consumer.fetch(missing)
                if not unacked.ready and (self._listening or patience > MIN_WAIT_SECONDS):
                    consumer.wait_for_one()
                    consumer.read(patience)
        unacked.promote(time.monotonic())
        self._finish_arrivals()

    def _stop_stream(self) -> None:
        self._consumer.stop()
        self._finish_arrivals()

    def _arrive(self, message: amqp.Message) -> None:
        arrived = received(message)
        verdict, disposition = self._unacked.arrive(arrived, time.monotonic(), time.time())
        if verdict in (ArrivalAction.FORGET, ArrivalAction.ACK_DUPLICATE):
            self._acks.append(arrived)
        elif verdict is ArrivalAction.REPUBLISH and disposition is not None:
            self._to_republish.append((arrived, disposition))
        elif (
            arrived.not_before - time.time() > SHORT_DELAY_SECONDS
            and self._unacked.parked.pop(arrived.id, None) is not None
        ):
            # One queue of delays has kept it for a while; the next one follows.
            self._to_republish.append((arrived, Disposition(False, arrived.earlier, arrived.not_before)))

    def _finish_arrivals(self) -> None:
        """Do what was decided about arrivals; not while the server is talking."""
        if self._to_republish:
            copies, self._to_republish = self._to_republish, []
            self._republish(copies)
        if self._acks:
            acks, self._acks = self._acks, []
            for message in acks:
                self._ack(message.tag)

    def _expire(self) -> None:
        """Republish messages whose lease was not renewed in time."""
        now = time.monotonic()
        if now >= self._expire_at:
            self._expire_at = now + min(1.0, self.settings.lease / 4)
            self._republish([(held, Disposition(False, held.attempt)) for held in self._unacked.expired(now)])

    def _republish(self, pending: Sequence[tuple[UnackedMessage | ReceivedMessage, Disposition]]) -> None:
        """First the copy, confirmed; then the acknowledgement."""
        if not pending:
            return
        messages = [each.message if isinstance(each, UnackedMessage) else each for each, _ in pending]
        copies = [
            outgoing(
                message.payload, disposition.earlier, disposition.not_before, name=f"{message.id}:{disposition.earlier}"
            )
            for message, (_, disposition) in zip(messages, pending, strict=True)
        ]
        self._publisher.send(self._consumer_connection, copies)
        for message, (each, _) in zip(messages, pending, strict=True):
            self._acknowledge(message.id, each.tag)

    def _acknowledge(self, message_id: str, tag: int | None) -> None:
        if tag is not None:
            self._ack(tag)
        self._unacked.forget(message_id)

    def _ack(self, tag: int) -> None:
        self._channel.basic_ack(tag)
        self._consumer.settled(tag)

    # ── the end of a delivery ────────────────────────────────────────────────────────────────────

    def renew(self, receipts: Sequence[str]) -> Sequence[str]:
        now = time.monotonic()
        return [receipt for receipt in receipts if not self._unacked.renew(receipt, now)]

    def acknowledge(self, receipts: Sequence[str]) -> None:
        """Returns when the server knows."""
        if not receipts:
            return
        with self._consumer_connection.errors():
            self._open()
            for receipt in receipts:
                held = self._unacked.take(receipt)
                if held is None or held.tag is None:
                    self._unacked.decide(receipt, FORGET, time.monotonic())
                else:
                    self._unconfirmed.append(held.message.id)
                    self._acknowledge(held.message.id, held.tag)
            self._sync()
            self._unconfirmed.clear()

    def release(self, deliveries: Sequence[Delivery], delay: float = 0.0, *, refund_attempt: bool = False) -> None:
        if not deliveries:
            return
        not_before = time.time() + delay if delay > 0 else 0.0
        with self._consumer_connection.errors():
            self._open()
            pending: list[tuple[UnackedMessage | ReceivedMessage, Disposition]] = []
            for receipt in dict.fromkeys(delivery.receipt for delivery in deliveries):
                attempt = int(receipt.rpartition(":")[2] or 0) if ":" in receipt and receipt[-1].isdecimal() else 0
                disposition = Disposition(False, max(0, attempt - refund_attempt), not_before)
                held = self._unacked.take(receipt)
                if held is None or held.tag is None:
                    self._unacked.decide(receipt, disposition, time.monotonic())
                else:
                    pending.append((held, disposition))
            self._republish(pending)
            self._sync()

    def _sync(self) -> None:
        """An acknowledgement has no answer; but what is asked after it is answered after it."""
        self._channel.basic_qos(0, self.capabilities.bulk, False)

    # ── staying in touch ─────────────────────────────────────────────────────────────────────────

    def keep_alive(self) -> None:
        with self._consumer_connection.errors():
            if self._consumer_connection.is_open and self._channel is not None:
                self._consumer.read(0.0)
                self._finish_arrivals()
                self._consumer_connection.beat()

    def fileno(self) -> int | None:
        """From now on the server tells us of what comes, also between two calls."""
        self._listening = True
        return self._consumer_connection.fileno() if self._consumer_connection.is_open else None

    def stop_prefetch(self) -> None:
        """See ``Broker.stop_prefetch``. Redelivered messages stay, because their receipts may be claimed. A consumer
        that waits for one message stays too: cancelling it could interrupt a delivery."""
        if self.unconfirmed_acks:
            with self._consumer_connection.errors():
                self._open()
        if self._consumer_connection.is_open and self._channel is not None:
            with self._consumer_connection.errors():
                if not self._consumer.waits_for_one:
                    self._stop_stream()
                self._reclaim()
                never_leased = [*self._unacked.ready, *(m for m in self._unacked.parked.values() if not m.redelivered)]
                self._republish([(each, Disposition(False, each.earlier, each.not_before)) for each in never_leased])
                self._unacked.ready.clear()

    @property
    def unconfirmed_acks(self) -> int:
        return self._unacked.expected_again(time.monotonic())

    def _reclaim(self) -> None:
        """Acknowledge what was done while its connection was lost, and has come into the queue again. It is in front,
        so a message that is new ends the look."""
        if not self.unconfirmed_acks or time.monotonic() < self._reclaim_at:
            return
        unacked, most = self._unacked, len(self._unacked.parked) + MAX_FOREIGN
        self._consumer.fetch(lambda: int(not unacked.ready and len(unacked.parked) < most))
        self._finish_arrivals()
        self._reclaim_at = time.monotonic() + RECLAIM_SECONDS

    # ── looking ──────────────────────────────────────────────────────────────────────────────────

    def peek(self, limit: int = 100) -> Sequence[QueuedMessage]:
        """See ``Broker.peek``. Always empty: RabbitMQ shows no message without delivering it."""
        return []

    def size(self) -> QueueSize:
        """See ``Broker.size``. Counts only the leases of this broker: RabbitMQ does not tell those of others."""
        with self._sending():
            self._publisher_connection.declare(self._name, {})
            ready = self._publisher_connection.count(self._name) or 0
            delayed = self._publisher.delayed(self._publisher_connection)
        unacked = self._unacked
        return QueueSize(
            ready=ready + len(unacked.ready), delayed=delayed + len(unacked.parked), leased=len(unacked.held)
        )

    def purge(self) -> int:
        """See ``Broker.purge``. Messages that are leased by other clusters stay."""
        with self._consumer_connection.errors():
            self._open()
            self._stop_stream()
            unacked = self._unacked
            here = {held.message.id: held.tag for held in unacked.held.values()}
            here |= {message.id: message.tag for message in (*unacked.parked.values(), *unacked.ready)}
            total = sum(tag is not None for tag in here.values())
            for message_id, tag in here.items():
                self._acknowledge(message_id, tag)
            unacked.ready.clear()
            total += int(self._channel.queue_purge(self._name))
            total += self._publisher.delete_delays(self._channel, self._consumer_connection, self._publisher_connection)
            return total

    def ping(self) -> None:
        with self._sending():
            self._publisher_connection.count(self._name)

    def info(self) -> str:
        with self._sending():
            return f"RabbitMQ {self._publisher_connection.version} at {self._publisher_connection.address}"

    def close(self) -> None:
        """See ``Broker.close``. Messages that were fetched and not leased are republished; RabbitMQ requeues leased
        ones."""
        if self._consumer_connection.is_open:
            self.stop_prefetch()
        self._consumer_connection.close()
        self._publisher_connection.close()
        self._channel = None
