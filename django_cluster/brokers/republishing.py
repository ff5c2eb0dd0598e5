"""Giving back at no cost where the server counts what it lends, and nobody can take its count down.

A copy that brings along the attempts before this one takes the place of the message. It is sent first, and the message
is deleted when the copy is confirmed: killed in between, a cluster leaves both, and the task runs twice. What was sent
is remembered until the message is gone, so that a server that goes away in between is sent no second copy.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from django_cluster.brokers.base import Broker, Delivery, Message
from django_cluster.brokers.publisher import Publisher
from django_cluster.core.events.messages import ATTEMPTS_NOT_REFUNDED
from django_cluster.core.settings import BrokerSettings
from django_cluster.errors import BrokerRefused

REPUBLISH_SECONDS = 4.0
"""Seconds for copies, after which the rest is given back as it is: a cluster that stops has not much more time."""


class RepublishingBroker(Broker):
    """What the adapters of such servers share."""

    republish_batch = 10
    """So many are sent before their originals are deleted."""

    def __init__(self, settings: BrokerSettings) -> None:
        super().__init__(settings)
        self._republished: set[str] = set()
        """Receipts of messages whose copy is there, and that are still to be deleted."""

    def give_back(self, deliveries: Sequence[Delivery], delay: float = 0.0) -> None:
        """Copies go behind what waits; those with a delay that is too long for the server, to the delay queue."""
        until = time.monotonic() + REPUBLISH_SECONDS
        for start in range(0, len(deliveries), self.republish_batch):
            if start and time.monotonic() > until:
                self._release_unchanged(deliveries[start:], delay)
                return
            some = deliveries[start : start + self.republish_batch]
            self._republish(some, delay)
            self._delete_republished(some)

    def _delete_republished(self, deliveries: Sequence[Delivery]) -> None:
        copied = [each.receipt for each in deliveries if each.receipt in self._republished]
        self.acknowledge(copied)
        self._republished.difference_update(copied)

    def _release_unchanged(self, deliveries: Sequence[Delivery], delay: float) -> None:
        self._delete_republished(deliveries)
        ATTEMPTS_NOT_REFUNDED.log(count=len(deliveries), reason="the broker is slow")
        self.release([each.receipt for each in deliveries], delay)

    def _republish(self, deliveries: Sequence[Delivery], delay: float) -> None:
        """Those of which the lease is still ours, and no copy is there yet."""
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
            self.release(list(held), delay)

    def _renewed(self, receipts: Sequence[str]) -> set[str]:
        """Those whose lease is ours, begun anew: a copy of what others run would run beside it."""
        return set(receipts).difference(self.renew(receipts)) if receipts else set()
