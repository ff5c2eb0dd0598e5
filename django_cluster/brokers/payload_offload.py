"""Payload offloading: large payloads are kept in the database, and the broker carries references to them.

``OffloadingBroker`` wraps any adapter, and its callers see whole payloads. The order of the steps protects them: the
row is written before the reference is sent, and deleted after the message was. A process that is killed in between
leaves an unused row, which is deleted when the broker can no longer have its reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import NamedTuple
from uuid import uuid4

from django_cluster.brokers import adapter_class
from django_cluster.brokers.base import Broker
from django_cluster.brokers.capabilities import Capabilities
from django_cluster.brokers.messages import Delivery, Message, QueuedMessage, QueueSize
from django_cluster.brokers.payload_store import PayloadStore
from django_cluster.core.codec import Codec
from django_cluster.core.events.messages import PAYLOADS_LEFT
from django_cluster.core.payload_references import ID_LENGTH
from django_cluster.core.queue_names import join_escaped, shortened
from django_cluster.core.settings import BrokerSettings, SigningSettings
from django_cluster.errors import BrokerError
from django_cluster.models.row_signing import secrets

RECEIPT_PREFIX = "large:"
"""Begins receipts and keys of messages with a reference; the id of the row follows."""
MIN_PURGE_AGE_SECONDS = 60.0
"""Seconds after which the reference of a row has certainly been sent. A purge keeps younger rows."""


class OffloadedReceipt(NamedTuple):
    """A receipt or a key, taken apart."""

    inner: str
    """The name of the queue at the adapter."""
    row: str = ""


class OffloadingBroker(Broker):
    """Wraps the adapter that the settings name."""

    def __init__(self, settings: BrokerSettings) -> None:
        super().__init__(settings)
        self.inner = inner = adapter_class(settings)(settings)
        self.capabilities = replace(inner.capabilities, max_payload=None)
        self.database = inner.database
        self._lifetime = reference_lifetime(inner.capabilities)
        self._limit = inline_limit(settings, inner.capabilities.max_payload)
        secret, fallbacks = secrets()
        self._codec = Codec(
            SigningSettings(secret=secret, fallbacks=fallbacks, salt=settings.name, queue=settings.queue)
        )
        self._payloads = PayloadStore(shortened(join_escaped(settings.name, settings.alias, settings.queue)))
        self._away = False

    @property
    def title(self) -> str:
        return self.inner.title

    # ── sending ──────────────────────────────────────────────────────────────────────────────────

    def enqueue(self, messages: Sequence[Message]) -> None:
        """With a large one among them, inside a transaction of the database of the payloads: when it is committed."""
        self._send(messages, self.inner.enqueue)

    def enqueue_unique(self, messages: Sequence[Message], names: Sequence[str]) -> None:
        self._send(messages, lambda inline: self.inner.enqueue_unique(inline, names))

    def release_unique(self, names: Sequence[str]) -> None:
        self.inner.release_unique(names)

    def _send(self, messages: Sequence[Message], send: Callable[[Sequence[Message]], None]) -> None:
        large = {uuid4().hex: message for message in messages if len(message.payload) > self._limit}
        if not large:
            send(messages)
            return
        self._payloads.save({id: each.payload for id, each in large.items()}, self._lifetime)
        references = iter(
            [replace(each, payload=self._codec.reference(id, each.payload)) for id, each in large.items()]
        )
        inline = [next(references) if len(each.payload) > self._limit else each for each in messages]
        self._payloads.after_commit(partial(send, inline))

    # ── leasing ──────────────────────────────────────────────────────────────────────────────────

    def lease(self, limit: int, wait: float = 0.0, *, not_after: float = math.inf) -> Sequence[Delivery]:
        """See ``Broker.lease``. Also raises ``BrokerUnavailable`` while the database is unavailable, and then leases
        nothing."""
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
                self.inner.release(deliveries, refund_attempt=True)
            raise
        return [self._with_payload(each, rows.get(each.payload, ""), found) for each in deliveries]

    def _rows_of(self, payloads: Sequence[str]) -> dict[str, str]:
        """Ticket → the id of its row, of those that are references of ours."""
        return {text: reference.id for text in payloads if (reference := self._codec.read_reference(text))}

    @staticmethod
    def _with_payload(delivery: Delivery, row: str, found: dict[str, str]) -> Delivery:
        """The delivery with its payload; without its row it keeps the reference, and verifying it raises
        ``PayloadMissing``."""
        if row not in found:
            return delivery
        return Delivery(f"{RECEIPT_PREFIX}{row}:{delivery.receipt}", found[row], delivery.attempt)

    def wait_any(self, others: Sequence[Broker], seconds: float) -> bool:
        return self.inner.wait_any(
            [each.inner if isinstance(each, OffloadingBroker) else each for each in others], seconds
        )

    @property
    def can_wait_any(self) -> bool:
        return self.inner.can_wait_any

    def renew(self, receipts: Sequence[str]) -> Sequence[str]:
        given = {split_receipt(receipt).inner: receipt for receipt in receipts}
        return [given[each] for each in self.inner.renew(list(given))]

    def release(self, deliveries: Sequence[Delivery], delay: float = 0.0, *, refund_attempt: bool = False) -> None:
        self._extend([split_receipt(each.receipt) for each in deliveries], delay)
        if refund_attempt:  # the adapter may have to send a copy
            leased = [self._as_leased(each) for each in deliveries]
        else:
            leased = [each._replace(receipt=split_receipt(each.receipt).inner) for each in deliveries]
        self.inner.release(leased, delay, refund_attempt=refund_attempt)

    def _extend(self, split: Sequence[OffloadedReceipt], delay: float) -> None:
        """Keep the rows longer: some adapters release by sending a copy, which may wait in the delay queue first."""
        if self._lifetime is not None and (rows := [each.row for each in split if each.row]):
            self._payloads.extend(rows, self._lifetime + delay)

    def _as_leased(self, delivery: Delivery) -> Delivery:
        """By the adapter: with a reference again."""
        inner, row = split_receipt(delivery.receipt)
        payload = self._codec.reference(row, delivery.payload) if row and delivery.payload else delivery.payload
        return delivery._replace(receipt=inner, payload=payload)

    # ── the end of a message ─────────────────────────────────────────────────────────────────────

    def acknowledge(self, receipts: Sequence[str]) -> None:
        self._end(receipts, self.inner.acknowledge)

    def discard(self, receipts: Sequence[str]) -> None:
        self._end(receipts, self.inner.discard)

    def _end(self, receipts: Sequence[str], end: Callable[[Sequence[str]], None]) -> None:
        split = [split_receipt(receipt) for receipt in receipts]
        large = [each for each in split if each.row]
        # The adapter passes over a receipt that is no longer ours without a word. Others hold that message now, or
        # will, and need its row. Who renews a lease has it until long after the end.
        lost = set(self.inner.renew([each.inner for each in large])) if large else set()
        end([each.inner for each in split])
        self._forget([each.row for each in large if each.inner not in lost])

    def cancel(self, keys: Sequence[str]) -> int:
        """Large ones one by one: the adapter says how many it has withdrawn, and not which."""
        split = [split_receipt(key) for key in keys]
        small, large = [each.inner for each in split if not each.row], [each for each in split if each.row]
        done = self.inner.cancel(small) if small or not large else 0
        gone = [each.row for each in large if self.inner.cancel([each.inner])]
        self._forget(gone)
        return done + len(gone)

    def purge(self) -> int:
        total = self.inner.purge()
        self._log_errors(lambda: self._payloads.delete_older(MIN_PURGE_AGE_SECONDS))
        return total

    def delete_expired(self) -> int:
        """Delete rows of which no broker holds a reference any more; returns how many there were."""
        return self._payloads.delete_in_batches(self._payloads.expired())

    def _forget(self, rows: Collection[str]) -> None:
        if rows:
            self._log_errors(lambda: self._payloads.delete(rows))

    @staticmethod
    def _log_errors(act: Callable[[], object]) -> None:
        """The messages are gone, whatever becomes of the rows; to fail now would repeat what is done."""
        try:
            act()
        except BrokerError as error:
            PAYLOADS_LEFT.log(error=error)

    # ── looking ──────────────────────────────────────────────────────────────────────────────────

    def peek(self, limit: int = 100) -> Sequence[QueuedMessage]:
        seen = self.inner.peek(limit)
        rows = self._rows_of([each.payload for each in seen])
        found = self._payloads.find(rows.values()) if rows else {}
        return [self._shown(each, rows.get(each.payload, ""), found) for each in seen]

    @staticmethod
    def _shown(waiting: QueuedMessage, row: str, found: dict[str, str]) -> QueuedMessage:
        if row not in found:
            return waiting
        key = f"{RECEIPT_PREFIX}{row}:{waiting.key}" if waiting.key else ""
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

    def warnings(self) -> Sequence[str]:
        return self.inner.warnings()

    def keep_alive(self) -> None:
        self.inner.keep_alive()

    def fileno(self) -> int | None:
        return self.inner.fileno()

    def stop_prefetch(self) -> None:
        self.inner.stop_prefetch()

    @property
    def unconfirmed_acks(self) -> int:
        return self.inner.unconfirmed_acks

    def info(self) -> str:
        return self.inner.info()

    def close(self) -> None:
        self.inner.close()
        self._payloads.close()


def split_receipt(text: str) -> OffloadedReceipt:
    """A receipt or a key of ours, taken apart."""
    if not text.startswith(RECEIPT_PREFIX):
        return OffloadedReceipt(text)
    row, _, inner = text[len(RECEIPT_PREFIX) :].partition(":")
    return OffloadedReceipt(inner, row) if len(row) == ID_LENGTH else OffloadedReceipt(text)


def reference_lifetime(able: Capabilities) -> float | None:
    """Seconds after which a reference is certainly gone; None = never."""
    return None if able.max_age is None else able.max_age + (able.max_delay or 0.0)


def inline_limit(settings: BrokerSettings, adapter: int | None) -> float:
    """Bytes of the largest payload that goes to the broker itself."""
    own = math.inf if isinstance(settings.offload_large_payloads, bool) else settings.offload_large_payloads
    return min(own, math.inf if adapter is None else adapter)
