"""The queue in RabbitMQ: at least once, confirmed by the server before a caller goes on.

Two connections: one sends; the other holds what is lent, because only the channel that delivered a message can
acknowledge it. A lease is therefore the life of that connection; ``rabbitmq_holding`` has the rest of that story.
A message cannot be changed in the queue: one that is given back is sent again, with its count of attempts, and
then acknowledged. Killed in between, it is there twice, and lost never.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import amqp

from django_cluster.brokers.base import Broker, Capabilities, Delivery, Message, QueueSize, Waiting
from django_cluster.brokers.rabbitmq_holding import FORGET, Arrived, Fate, Held, Holding, Verdict
from django_cluster.brokers.rabbitmq_letters import SHORT_DELAY, Post, arrival, letter
from django_cluster.brokers.rabbitmq_link import Link
from django_cluster.brokers.rabbitmq_options import RabbitOptions
from django_cluster.brokers.rabbitmq_tap import Tap
from django_cluster.core.places import joined
from django_cluster.core.settings import BrokerSettings

WORTH_A_BELL = 0.005
"""Seconds: for a shorter wait the server is only asked."""
RECLAIM = 0.2
"""Seconds between two looks for messages that are done and must come again to be acknowledged."""
FOREIGN = 500
"""Messages of others that such a look may come upon, before the next one goes on."""

ABLE = Capabilities(
    blocking=True,
    priority=False,
    peek=False,
    front=False,
    atomic=False,
    exact_size=False,
    receipts_travel=False,
)


class RabbitBroker(Broker):
    """A durable queue ``django_cluster.<site>.<queue>``, and beside it one for each delay that was needed."""

    capabilities = ABLE

    def __init__(self, settings: BrokerSettings) -> None:
        super().__init__(settings)
        options = RabbitOptions.of(settings.options, settings.lease)
        self._name = f"django_cluster.{joined(settings.name, settings.queue, separator='.')}"
        self._sender = Link(options, heartbeat=0, purpose="sends")
        self._holder = Link(options, heartbeat=options.heartbeat, purpose="holds")
        self._post = Post(self._name, quorum=options.queue_type == "quorum")
        self._holding = Holding(settings.lease)
        self._letters: list[tuple[Held | Arrived, Fate]] = []
        self._acks: list[Arrived] = []
        self._unconfirmed: list[str] = []
        """Messages whose acknowledgement is under way."""
        self._tap = Tap(self._holder, self._name, self._arrive)
        self._listening = False
        self._expire_at = 0.0
        self._reclaim_at = 0.0
        self._channel: Any = None
        self.capabilities = replace(ABLE, bulk=options.prefetch)

    def prepare(self) -> None:
        """Connect, and declare the queue."""
        with self._holder.errors():
            self._open()

    # ── sending ──────────────────────────────────────────────────────────────────────────────────

    def enqueue(self, messages: Sequence[Message]) -> None:
        """All are confirmed, or an error says that some may not have been kept."""
        if not messages:
            return
        with self._sending():
            letters = [letter(each.payload, each.attempts, each.not_before or 0.0) for each in messages]
            self._post.send(self._sender, letters)

    def enqueue_once(self, messages: Sequence[Message], names: Sequence[str]) -> None:
        """RabbitMQ keeps what is sent again. The cluster that has been lent the first of one name drops the second."""
        if not messages:
            return
        with self._sending():
            letters = [
                letter(each.payload, each.attempts, each.not_before or 0.0, name=f"{self._name}:{name}")
                for each, name in zip(messages, names, strict=True)
            ]
            self._post.send(self._sender, letters)

    @contextmanager
    def _sending(self) -> Iterator[None]:
        """A connection that was ended while nobody looked is replaced now: later nobody would know what was kept."""
        if self._sender.is_open:
            try:
                self._sender.drain(0.0)
            except (amqp.exceptions.AMQPError, OSError):
                self._sender.drop()
        with self._sender.errors():
            yield

    # ── lending ──────────────────────────────────────────────────────────────────────────────────

    def lease(self, limit: int, wait: float = 0.0, *, not_after: float = math.inf) -> Sequence[Delivery]:
        if time.monotonic() >= not_after:
            return []
        deadline = min(time.monotonic() + wait, not_after)
        limit = min(limit, self.capabilities.bulk)
        lent: list[Delivery] = []
        with self._holder.errors():
            self._open()
            while time.monotonic() < not_after:  # later, what has expired may be the caller's own
                self._let_expire()
                self._collect(limit, min(deadline - time.monotonic(), self.settings.lease / 4))
                lent = [Delivery(each.receipt, each.message.payload, each.attempt) for each in self._lend(limit)]
                if lent or time.monotonic() >= deadline:
                    break
            if not self._listening and self._tap.is_bell:
                self._stop_stream()
            return lent

    def _lend(self, limit: int) -> list[Held]:
        return list(self._holding.lend(limit, time.monotonic()))

    def _open(self) -> None:
        """A connection with the queue declared; a new one brings everything again that is not acknowledged."""
        channel = self._holder.channel
        if channel is not self._channel:
            self._acks.clear()
            self._letters.clear()
            self._holding.connection_lost()
            for message_id in self._unconfirmed:
                self._holding.owe(message_id, time.monotonic())
            self._unconfirmed.clear()
            self._holder.declare(self._name, {})
            self._channel = self._holder.channel  # declaring may have cost the first one
            self._tap.begin(self._channel)

    def _collect(self, limit: int, wait: float) -> None:
        """Get what is ready, and wait for it if there is nothing; some of what comes may have to wait here."""
        holding, tap = self._holding, self._tap
        holding.promote(time.monotonic())

        def missing() -> int:
            return limit - len(holding.ready)

        if missing() > 0:
            patience = max(0.0, min(wait, holding.next_due() - time.monotonic()))
            if tap.streams:
                tap.hear(patience)
            if not tap.streams:
                tap.pull(missing)
                if not holding.ready and (self._listening or patience > WORTH_A_BELL):
                    tap.ring()
                    tap.hear(patience)
        holding.promote(time.monotonic())
        self._settle_arrivals()

    def _stop_stream(self) -> None:
        self._tap.stop()
        self._settle_arrivals()

    def _arrive(self, message: amqp.Message) -> None:
        arrived = arrival(message)
        verdict, fate = self._holding.arrive(arrived, time.monotonic(), time.time())
        if verdict in (Verdict.FORGET, Verdict.DROP):
            self._acks.append(arrived)
        elif verdict is Verdict.SEND_AGAIN and fate is not None:
            self._letters.append((arrived, fate))
        elif arrived.not_before - time.time() > SHORT_DELAY and self._holding.parked.pop(arrived.id, None) is not None:
            # One queue of delays has kept it for a while; the next one follows.
            self._letters.append((arrived, Fate(False, arrived.earlier, arrived.not_before)))

    def _settle_arrivals(self) -> None:
        """Do what was decided about arrivals; not while the server is talking."""
        if self._letters:
            letters, self._letters = self._letters, []
            self._send_again(letters)
        if self._acks:
            acks, self._acks = self._acks, []
            for message in acks:
                self._ack(message.tag)

    def _let_expire(self) -> None:
        """Nobody has renewed these: whoever was lent them is gone."""
        now = time.monotonic()
        if now >= self._expire_at:
            self._expire_at = now + min(1.0, self.settings.lease / 4)
            self._send_again([(held, Fate(False, held.attempt)) for held in self._holding.expired(now)])

    def _send_again(self, letters: Sequence[tuple[Held | Arrived, Fate]]) -> None:
        """First the copy, confirmed; then the acknowledgement."""
        if not letters:
            return
        messages = [each.message if isinstance(each, Held) else each for each, _ in letters]
        copies = [
            letter(message.payload, fate.earlier, fate.not_before, name=f"{message.id}:{fate.earlier}")
            for message, (_, fate) in zip(messages, letters, strict=True)
        ]
        self._post.send(self._holder, copies)
        for message, (each, _) in zip(messages, letters, strict=True):
            self._acknowledge(message.id, each.tag)

    def _acknowledge(self, message_id: str, tag: int | None) -> None:
        if tag is not None:
            self._ack(tag)
        self._holding.forget(message_id)

    def _ack(self, tag: int) -> None:
        self._channel.basic_ack(tag)
        self._tap.settled(tag)

    # ── the end of a delivery ────────────────────────────────────────────────────────────────────

    def renew(self, receipts: Sequence[str]) -> Sequence[str]:
        now = time.monotonic()
        return [receipt for receipt in receipts if not self._holding.renew(receipt, now)]

    def acknowledge(self, receipts: Sequence[str]) -> None:
        """Returns when the server knows."""
        if not receipts:
            return
        with self._holder.errors():
            self._open()
            for receipt in receipts:
                held = self._holding.take(receipt)
                if held is None or held.tag is None:
                    self._holding.decide(receipt, FORGET, time.monotonic())
                else:
                    self._unconfirmed.append(held.message.id)
                    self._acknowledge(held.message.id, held.tag)
            self._wait_for_the_server()
            self._unconfirmed.clear()

    def release(self, receipts: Sequence[str], delay: float = 0.0, *, begun: bool = True) -> None:
        if not receipts:
            return
        not_before = time.time() + delay if delay > 0 else 0.0
        with self._holder.errors():
            self._open()
            letters: list[tuple[Held | Arrived, Fate]] = []
            for receipt in dict.fromkeys(receipts):
                attempt = int(receipt.rpartition(":")[2] or 0) if ":" in receipt and receipt[-1].isdecimal() else 0
                fate = Fate(False, max(0, attempt - (not begun)), not_before)
                held = self._holding.take(receipt)
                if held is None or held.tag is None:
                    self._holding.decide(receipt, fate, time.monotonic())
                else:
                    letters.append((held, fate))
            self._send_again(letters)
            self._wait_for_the_server()

    def _wait_for_the_server(self) -> None:
        """An acknowledgement has no answer; but what is asked after it is answered after it."""
        self._channel.basic_qos(0, self.capabilities.bulk, False)

    # ── staying in touch ─────────────────────────────────────────────────────────────────────────

    def tend(self) -> None:
        with self._holder.errors():
            if self._holder.is_open and self._channel is not None:
                self._tap.hear(0.0)
                self._settle_arrivals()
                self._holder.beat()

    def descriptor(self) -> int | None:
        """From now on the server tells us of what comes, also between two calls."""
        self._listening = True
        return self._holder.fileno() if self._holder.is_open else None

    def rest(self) -> None:
        """What is redelivered stays: somebody may claim it. A bell stays too: it brings one message and is gone, while
        one that is stopped may have brought it half-way."""
        if self.unsettled:
            with self._holder.errors():
                self._open()
        if self._holder.is_open and self._channel is not None:
            with self._holder.errors():
                if not self._tap.is_bell:
                    self._stop_stream()
                self._reclaim()
                unlent = [*self._holding.ready, *(m for m in self._holding.parked.values() if not m.redelivered)]
                self._send_again([(each, Fate(False, each.earlier, each.not_before)) for each in unlent])
                self._holding.ready.clear()

    @property
    def unsettled(self) -> int:
        return self._holding.owed(time.monotonic())

    def _reclaim(self) -> None:
        """Acknowledge what was done while its connection was lost, and has come into the queue again. It is in front,
        so a message that is new ends the look."""
        if not self.unsettled or time.monotonic() < self._reclaim_at:
            return
        holding, most = self._holding, len(self._holding.parked) + FOREIGN
        self._tap.pull(lambda: int(not holding.ready and len(holding.parked) < most))
        self._settle_arrivals()
        self._reclaim_at = time.monotonic() + RECLAIM

    # ── looking ──────────────────────────────────────────────────────────────────────────────────

    def peek(self, limit: int = 100) -> Sequence[Waiting]:
        """Nothing: RabbitMQ shows no message without lending it."""
        return []

    def size(self) -> QueueSize:
        """Leased: what this broker holds. What others hold, RabbitMQ does not tell."""
        with self._sending():
            self._sender.declare(self._name, {})
            ready = self._sender.count(self._name) or 0
            delayed = self._post.delayed(self._sender)
        holding = self._holding
        return QueueSize(
            ready=ready + len(holding.ready), delayed=delayed + len(holding.parked), leased=len(holding.held)
        )

    def purge(self) -> int:
        """What others hold at this moment stays."""
        with self._holder.errors():
            self._open()
            self._stop_stream()
            holding = self._holding
            here = {held.message.id: held.tag for held in holding.held.values()}
            here |= {message.id: message.tag for message in (*holding.parked.values(), *holding.ready)}
            total = sum(tag is not None for tag in here.values())
            for message_id, tag in here.items():
                self._acknowledge(message_id, tag)
            holding.ready.clear()
            total += int(self._channel.queue_purge(self._name))
            total += self._post.delete_delays(self._channel, self._holder, self._sender)
            return total

    def ping(self) -> None:
        with self._sending():
            self._sender.count(self._name)

    def info(self) -> str:
        with self._sending():
            return f"RabbitMQ {self._sender.version} at {self._sender.address}"

    def close(self) -> None:
        """What has come and was not lent goes back as it was; what is lent, the server gives to others."""
        if self._holder.is_open:
            self.rest()
        self._holder.close()
        self._sender.close()
        self._channel = None
