"""A broker that was written for Django-Q, behind the broker port of this package.

It keeps its own guarantee. One that returns receipts with its messages (at least once) delivers a message again when
nothing has acknowledged it. One that returns None as receipt (at most once) has forgotten a message when it has
delivered it: what the pusher of a cluster held is lost with that process.

Leases are not renewed, because Django-Q's brokers cannot. A message that is delivered again while the same process
still holds it is left out.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import uuid4

from django_cluster.brokers.base import Broker as BaseBroker
from django_cluster.brokers.capabilities import Capabilities
from django_cluster.brokers.messages import Delivery, Message, QueuedMessage, QueueSize
from django_cluster.brokers.publisher import Publisher
from django_cluster.core.settings import BrokerSettings
from django_cluster.errors import BrokerError, BrokerUnavailable

if TYPE_CHECKING:
    from django_cluster.django_q.shim.brokers import Broker

COPY = re.compile(r"attempts=(\d{1,9});")
"""Begins the text of a message that was released, and sent again as a copy: how often it was delivered before."""


@dataclass(frozen=True, slots=True)
class Held:
    """A message that was delivered and has not come to its end."""

    ack_id: Any
    """What the broker has returned as its receipt; None or another false value: nothing can be acknowledged."""
    payload: str = field(repr=False)
    attempt: int


class AdaptedBroker(BaseBroker):
    """Calls a broker with the methods of Django-Q's. Subclasses name its class."""

    foreign: ClassVar[Callable[..., Broker]]

    capabilities = Capabilities(
        bulk=100,
        priority=False,
        delay=False,
        peek=False,
        counts_attempts=False,
        atomic=False,
        fifo=False,
        requeues_first=False,
        exact_size=False,
        refunds_attempts=False,
        fenced_receipts=False,
        portable_receipts=False,
    )

    def __init__(self, settings: BrokerSettings, broker: Broker | None = None) -> None:
        """``broker``: an instance, if there is one already."""
        super().__init__(settings)
        if broker is not None:
            self.__dict__["inner"] = broker
        self._held: dict[str, Held] = {}
        """Receipt → what was delivered under it."""

    @cached_property
    def inner(self) -> Broker:
        """The broker of the project, opened at the first use."""
        with self._translated():
            return type(self).foreign(list_key=self.settings.queue)

    @property
    def title(self) -> str:
        return getattr(type(self).foreign, "__name__", "The broker")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Whatever the project's broker raises means that it should be asked again later."""
        try:
            yield
        except BrokerError:
            raise
        except Exception as error:
            raise BrokerUnavailable(f"{self.title} raised {type(error).__name__}: {error}") from error

    def enqueue(self, messages: Sequence[Message]) -> None:
        for each in messages:
            with self._translated():
                self.inner.enqueue(f"attempts={each.attempts};{each.payload}" if each.attempts else each.payload)

    def lease(self, limit: int, wait: float = 0.0, *, not_after: float = math.inf) -> Sequence[Delivery]:
        """See ``Broker.lease``. ``dequeue`` may return more than ``limit``, and sleep for as long as it likes."""
        until = min(time.monotonic() + wait, not_after)
        found: list[Delivery] = []
        while time.monotonic() < not_after and len(found) < limit:
            with self._translated():
                came = self.inner.dequeue()
            found += [self._hold(ack_id, text) for ack_id, text in came or () if not self._is_held(ack_id)]
            if not came and (found or time.monotonic() >= until):
                break
            if not came:
                time.sleep(max(0.0, min(self.settings.poll, until - time.monotonic())))
        return found

    def _is_held(self, ack_id: Any) -> bool:
        return bool(ack_id) and any(held.ack_id == ack_id for held in self._held.values())

    def _hold(self, ack_id: Any, text: str | bytes) -> Delivery:
        payload = text.decode("ascii", "backslashreplace") if isinstance(text, bytes) else str(text)
        copy, receipt = COPY.match(payload), uuid4().hex
        attempt = 1
        if copy is not None:
            payload, attempt = payload[copy.end() :], int(copy[1]) + 1
        self._held[receipt] = Held(ack_id, payload, attempt)
        return Delivery(receipt, payload, attempt)

    def renew(self, receipts: Sequence[str]) -> Sequence[str]:
        return [receipt for receipt in receipts if receipt not in self._held]

    def acknowledge(self, receipts: Sequence[str]) -> None:
        self._end(receipts, lambda ack_id: self.inner.acknowledge(ack_id))

    def discard(self, receipts: Sequence[str]) -> None:
        self._end(receipts, lambda ack_id: self.inner.fail(ack_id))

    def _end(self, receipts: Sequence[str], tell: Callable[[Any], object]) -> None:
        for receipt in receipts:
            held = self._held.get(receipt)
            if held is not None and held.ack_id:
                with self._translated():
                    tell(held.ack_id)
            self._held.pop(receipt, None)

    def release(self, deliveries: Sequence[Delivery], delay: float = 0.0, *, refund_attempt: bool = False) -> None:
        """Send a copy, then delete the original: Django-Q's brokers know no other way back into the queue."""
        not_before = time.time() + delay if delay > 0 else None
        for each in deliveries:
            held = self._held.get(each.receipt)
            if held is not None:
                attempts = held.attempt - 1 if refund_attempt else held.attempt
                Publisher(self).publish([Message(held.payload, not_before=not_before, attempts=attempts)])
                self.acknowledge([each.receipt])

    def peek(self, limit: int = 100) -> Sequence[QueuedMessage]:
        """Empty: Django-Q's brokers show no message without delivering it."""
        return ()

    def size(self) -> QueueSize:
        with self._translated():
            ready, leased = self.inner.queue_size(), self.inner.lock_size()
        return QueueSize(ready=int(ready or 0), delayed=0, leased=max(int(leased or 0), len(self._held)))

    def purge(self) -> int:
        count = self.size().total
        with self._translated():
            self.inner.purge_queue()
        self._held.clear()
        return count

    def ping(self) -> None:
        with self._translated():
            self.inner.ping()

    def info(self) -> str:
        with self._translated():
            return str(self.inner.info() or self.title)


_adapters: dict[object, type[AdaptedBroker]] = {}


def adapter_of(foreign: Callable[..., Broker]) -> type[AdaptedBroker]:
    """The class that adapts this one; always the same."""
    if foreign not in _adapters:
        name = f"Adapted{getattr(foreign, '__name__', 'Broker')}"
        _adapters[foreign] = type(name, (AdaptedBroker,), {"foreign": foreign})
    return _adapters[foreign]
