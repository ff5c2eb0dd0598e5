"""The claim check: a broker carries a ticket, and the database keeps the payload.

It stands in front of any adapter, so that everybody above sees whole payloads. The order of the steps is what keeps
them: the row is there before the ticket is sent, and is deleted after the message has been forgotten. Killed between
the two, either way leaves a row that nobody needs; it is deleted when the broker has certainly forgotten its ticket.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import NamedTuple
from uuid import uuid4

from django_cluster.brokers import adapter_class
from django_cluster.brokers.base import Broker, Capabilities, Delivery, Message, QueueSize, Waiting
from django_cluster.brokers.large_payloads import LargePayloads
from django_cluster.core.codec import Codec
from django_cluster.core.places import fitted, joined
from django_cluster.core.settings import BrokerSettings, SigningSettings
from django_cluster.core.tickets import ID_LENGTH
from django_cluster.errors import BrokerError
from django_cluster.models.sealed import secrets

logger = logging.getLogger("django_cluster")

MARK = "large:"
"""Receipts and keys of messages with a ticket begin with this and the id of the row."""
SETTLED = 60.0
"""Seconds after which a row certainly has its ticket at the broker: a purge must not delete what is being sent."""


class Named(NamedTuple):
    """A receipt or a key."""

    inner: str
    """As the adapter knows it."""
    row: str = ""


class ClaimCheck(Broker):
    """In front of the adapter that the settings name."""

    def __init__(self, settings: BrokerSettings) -> None:
        super().__init__(settings)
        self.inner = inner = adapter_class(settings)(settings)
        self.capabilities = replace(inner.capabilities, max_payload=None)
        self.database = inner.database
        self._age = age_of(inner.capabilities)
        self._limit = limit_of(settings, inner.capabilities.max_payload)
        secret, fallbacks = secrets()
        self._codec = Codec(
            SigningSettings(secret=secret, fallbacks=fallbacks, salt=settings.name, queue=settings.queue)
        )
        self._payloads = LargePayloads(fitted(joined(settings.name, settings.alias, settings.queue)))
        self._away = False

    @property
    def title(self) -> str:
        return self.inner.title

    # ── sending ──────────────────────────────────────────────────────────────────────────────────

    def enqueue(self, messages: Sequence[Message]) -> None:
        """With a large one among them, inside a transaction of the database of the payloads: when it is committed."""
        self._send(messages, self.inner.enqueue)

    def enqueue_once(self, messages: Sequence[Message], names: Sequence[str]) -> None:
        self._send(messages, lambda light: self.inner.enqueue_once(light, names))

    def forget_once(self, names: Sequence[str]) -> None:
        self.inner.forget_once(names)

    def _send(self, messages: Sequence[Message], send: Callable[[Sequence[Message]], None]) -> None:
        large = {uuid4().hex: message for message in messages if len(message.payload) > self._limit}
        if not large:
            send(messages)
            return
        self._payloads.keep({id: each.payload for id, each in large.items()}, self._age)
        tickets = iter([replace(each, payload=self._codec.ticket(id, each.payload)) for id, each in large.items()])
        light = [next(tickets) if len(each.payload) > self._limit else each for each in messages]
        self._payloads.when_kept(partial(send, light))

    # ── lending ──────────────────────────────────────────────────────────────────────────────────

    def lease(self, limit: int, wait: float = 0.0, *, not_after: float = math.inf) -> Sequence[Delivery]:
        """Raises ``BrokerUnavailable`` also while the database is away, and then borrows nothing in vain."""
        if self._away:
            self._payloads.ping()
            self._away = False
        deliveries = self.inner.lease(limit, wait, not_after=not_after)
        rows = self._rows_of([each.payload for each in deliveries])
        if not rows:
            return deliveries
        try:
            found = self._payloads.find(rows.values())
        except BrokerError:
            self._away = True
            with suppress(BrokerError):  # then they come back by themselves
                self.inner.give_back(deliveries)
            raise
        return [self._redeemed(each, rows.get(each.payload, ""), found) for each in deliveries]

    def _rows_of(self, payloads: Sequence[str]) -> dict[str, str]:
        """Ticket → the id of its row, of those that are tickets of ours."""
        return {text: ticket.id for text in payloads if (ticket := self._codec.read_ticket(text))}

    @staticmethod
    def _redeemed(delivery: Delivery, row: str, found: dict[str, str]) -> Delivery:
        """Without its row it stays a ticket, and whoever opens it says so."""
        if row not in found:
            return delivery
        return Delivery(f"{MARK}{row}:{delivery.receipt}", found[row], delivery.attempt)

    def wait_with(self, others: Sequence[Broker], seconds: float) -> bool:
        return self.inner.wait_with([each.inner if isinstance(each, ClaimCheck) else each for each in others], seconds)

    @property
    def waits_with_others(self) -> bool:
        return self.inner.waits_with_others

    def renew(self, receipts: Sequence[str]) -> Sequence[str]:
        given = {named(receipt).inner: receipt for receipt in receipts}
        return [given[each] for each in self.inner.renew(list(given))]

    def release(self, receipts: Sequence[str], delay: float = 0.0, *, begun: bool = True) -> None:
        known = [named(receipt) for receipt in receipts]
        self._keep_on(known, delay)
        self.inner.release([each.inner for each in known], delay, begun=begun)

    def give_back(self, deliveries: Sequence[Delivery], delay: float = 0.0) -> None:
        self._keep_on([named(each.receipt) for each in deliveries], delay)
        self.inner.give_back([self._as_lent(each) for each in deliveries], delay)

    def _keep_on(self, known: Sequence[Named], delay: float) -> None:
        """Some adapters give back by sending a copy, and that may first wait in the waiting room."""
        if self._age is not None and (rows := [each.row for each in known if each.row]):
            self._payloads.keep_on(rows, self._age + delay)

    def _as_lent(self, delivery: Delivery) -> Delivery:
        """By the adapter: with a ticket again."""
        inner, row = named(delivery.receipt)
        payload = self._codec.ticket(row, delivery.payload) if row else delivery.payload
        return delivery._replace(receipt=inner, payload=payload)

    # ── the end of a message ─────────────────────────────────────────────────────────────────────

    def acknowledge(self, receipts: Sequence[str]) -> None:
        self._end(receipts, self.inner.acknowledge)

    def discard(self, receipts: Sequence[str]) -> None:
        self._end(receipts, self.inner.discard)

    def _end(self, receipts: Sequence[str], end: Callable[[Sequence[str]], None]) -> None:
        known = [named(receipt) for receipt in receipts]
        large = [each for each in known if each.row]
        # The adapter passes over a receipt that is no longer ours without a word. Others hold that message now, or
        # will, and need its row. Who renews a lease has it until long after the end.
        lost = set(self.inner.renew([each.inner for each in large])) if large else set()
        end([each.inner for each in known])
        self._forget([each.row for each in large if each.inner not in lost])

    def withdraw(self, keys: Sequence[str]) -> int:
        """Large ones one by one: the adapter says how many it has withdrawn, and not which."""
        known = [named(key) for key in keys]
        small, large = [each.inner for each in known if not each.row], [each for each in known if each.row]
        done = self.inner.withdraw(small) if small or not large else 0
        gone = [each.row for each in large if self.inner.withdraw([each.inner])]
        self._forget(gone)
        return done + len(gone)

    def purge(self) -> int:
        total = self.inner.purge()
        self._tell_only(lambda: self._payloads.forget_all(SETTLED))
        return total

    def tidy(self) -> int:
        """Delete rows of which no broker holds a ticket any more; returns how many there were."""
        return self._payloads.forget_in_portions(self._payloads.outdated())

    def _forget(self, rows: Collection[str]) -> None:
        if rows:
            self._tell_only(lambda: self._payloads.forget(rows))

    @staticmethod
    def _tell_only(act: Callable[[], object]) -> None:
        """The messages are gone, whatever becomes of the rows; to fail now would repeat what is done."""
        try:
            act()
        except BrokerError as error:
            logger.warning("Large payloads that nobody needs stay in the database for a while: %s", error)

    # ── looking ──────────────────────────────────────────────────────────────────────────────────

    def peek(self, limit: int = 100) -> Sequence[Waiting]:
        seen = self.inner.peek(limit)
        rows = self._rows_of([each.payload for each in seen])
        found = self._payloads.find(rows.values()) if rows else {}
        return [self._shown(each, rows.get(each.payload, ""), found) for each in seen]

    @staticmethod
    def _shown(waiting: Waiting, row: str, found: dict[str, str]) -> Waiting:
        if row not in found:
            return waiting
        key = f"{MARK}{row}:{waiting.key}" if waiting.key else ""
        return waiting._replace(payload=found[row], key=key)

    def size(self) -> QueueSize:
        return self.inner.size()

    def queue_names(self) -> Sequence[str]:
        return self.inner.queue_names()

    # ── the server ───────────────────────────────────────────────────────────────────────────────

    def prepare(self) -> None:
        self.inner.prepare()

    def ping(self) -> None:
        self.inner.ping()

    def concerns(self) -> Sequence[str]:
        return self.inner.concerns()

    def tend(self) -> None:
        self.inner.tend()

    def descriptor(self) -> int | None:
        return self.inner.descriptor()

    def rest(self) -> None:
        self.inner.rest()

    @property
    def unsettled(self) -> int:
        return self.inner.unsettled

    def info(self) -> str:
        return self.inner.info()

    def close(self) -> None:
        self.inner.close()
        self._payloads.close()


def named(text: str) -> Named:
    """A receipt or a key of ours, taken apart."""
    if not text.startswith(MARK):
        return Named(text)
    row, _, inner = text[len(MARK) :].partition(":")
    return Named(inner, row) if len(row) == ID_LENGTH else Named(text)


def age_of(able: Capabilities) -> float | None:
    """Seconds after which a ticket is certainly gone; None = never."""
    return None if able.max_age is None else able.max_age + (able.max_delay or 0.0)


def limit_of(settings: BrokerSettings, adapter: int | None) -> float:
    """Bytes of the largest payload that goes to the broker itself."""
    own = math.inf if isinstance(settings.claim_check, bool) else settings.claim_check
    return min(own, math.inf if adapter is None else adapter)
