"""Refunding an attempt where the server counts leases by itself and its count cannot be lowered.

A copy that carries the earlier attempts replaces the message. The copy is sent first, and the original is deleted when
the copy is confirmed: a process that is killed in between leaves both, and the task runs twice. What was copied is
remembered until the original is deleted, so that after an error in between no second copy is sent.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence

from django_cluster.brokers.base import Broker
from django_cluster.brokers.messages import Delivery, Message
from django_cluster.brokers.publisher import Publisher
from django_cluster.core.events.messages import ATTEMPTS_NOT_REFUNDED
from django_cluster.core.settings import BrokerSettings
from django_cluster.errors import BrokerRefused

REPUBLISH_SECONDS = 4.0
"""Seconds for sending copies. The rest is returned without a refund: a cluster that stops has little time."""


class RepublishingBroker(Broker):
    """Base of the adapters for such servers. They implement ``_return`` instead of ``release``."""

    republish_batch = 10
    """Copies that are sent before their originals are deleted."""

    def __init__(self, settings: BrokerSettings) -> None:
        super().__init__(settings)
        self._republished: set[str] = set()
        """Receipts of messages of which a copy was sent, and which are still to be deleted."""

    @abstractmethod
    def _return(self, receipts: Sequence[str], delay: float = 0.0) -> None:
        """Return leased messages to the queue; the server's count of attempts stays."""

    def release(self, deliveries: Sequence[Delivery], delay: float = 0.0, *, refund_attempt: bool = False) -> None:
        """See ``Broker.release``. Copies go to the end of the queue, or to the delay queue if ``delay`` is too long."""
        if not refund_attempt:
            self._return([each.receipt for each in deliveries], delay)
            return
        until = time.monotonic() + REPUBLISH_SECONDS
        for start in range(0, len(deliveries), self.republish_batch):
            if start and time.monotonic() > until:
                self._return_unrefunded(deliveries[start:], delay)
                return
            batch = deliveries[start : start + self.republish_batch]
            self._republish(batch, delay)
            self._delete_republished(batch)

    def _delete_republished(self, deliveries: Sequence[Delivery]) -> None:
        copied = [each.receipt for each in deliveries if each.receipt in self._republished]
        self.acknowledge(copied)
        self._republished.difference_update(copied)

    def _return_unrefunded(self, deliveries: Sequence[Delivery], delay: float) -> None:
        self._delete_republished(deliveries)
        ATTEMPTS_NOT_REFUNDED.log(count=len(deliveries), reason="the broker is slow")
        self._return([each.receipt for each in deliveries], delay)

    def _republish(self, deliveries: Sequence[Delivery], delay: float) -> None:
        """Send copies of the messages whose lease is still ours and that were not copied before."""
        held = self._renewed([each.receipt for each in deliveries if each.receipt not in self._republished])
        copied = [each for each in deliveries if each.receipt in held and each.payload]
        not_before = time.time() + delay if delay > 0 else None
        copies = [Message(each.payload, not_before=not_before, attempts=each.attempt - 1) for each in copied]
        try:
            Publisher(self).publish(copies)
        except BrokerRefused as error:
            ATTEMPTS_NOT_REFUNDED.log(count=len(copies), reason=error)
        else:
            held.difference_update(each.receipt for each in copied)
            self._republished.update(each.receipt for each in copied)
        if held:
            self._return(list(held), delay)

    def _renewed(self, receipts: Sequence[str]) -> set[str]:
        """Renew the leases; the receipts that are still ours. A copy of another's message would run beside it."""
        return set(receipts).difference(self.renew(receipts)) if receipts else set()
