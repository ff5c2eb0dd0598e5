"""What follows when a member of a composition has ended: noted with its row, then sent.

The packages that follow were signed by whoever made the composition. Here only their labels are changed; nothing
is opened. Where the queue is in the same database as the rows, noting and sending are one transaction. Elsewhere the
note says *owing* until the sending is done, and only then is the message of the member acknowledged: whoever dies
in between leaves a message that comes back, and with it the debt.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from django_cluster.brokers.base import Message
from django_cluster.core.codec import Codec
from django_cluster.core.composing import Owed, Step
from django_cluster.core.messages import Outcome
from django_cluster.errors import PackageError
from django_cluster.lifecycle.execute import rejected
from django_cluster.lifecycle.send import Parcel
from django_cluster.stores.orm_groups import GroupBook

logger = logging.getLogger("django_cluster")

Forward = Callable[[Sequence[Parcel]], None]


class Relay:
    """``forward`` gives signed packages to the queues that they name."""

    def __init__(self, groups: GroupBook, codec: Codec, forward: Forward, clock: Callable[[], float] = time.time) -> None:
        self._groups = groups
        self._codec = codec
        self._forward = forward
        self._clock = clock

    def note(self, outcomes: Sequence[Outcome], *, owing: bool) -> list[Step]:
        """See ``GroupBook.note``."""
        return self._groups.note(outcomes, owing=owing)

    def send(self, steps: Sequence[Step]) -> list[Outcome]:
        """Send what follows; returns how those ended that carry no signature of ours, and can never be sent.

        Raises ``BrokerUnavailable`` and ``BrokerRefused``.
        """
        parcels: list[Parcel] = []
        lost: list[Outcome] = []
        for step in steps:
            try:
                parcels.append(self._parcel(step))
            except PackageError as error:
                logger.error("What follows the member %s cannot be sent: %s", step.key, error)
                lost.append(rejected(0, "", 1, step.payload, error, self._clock(), "relay"))
        if parcels:
            self._forward(parcels)
        return lost

    def settled(self, steps: Sequence[Step]) -> None:
        """These have been sent, and are owed no longer."""
        self._groups.settled(steps)

    def catch_up(self) -> list[Outcome]:
        """Send what somebody who died should have sent a while ago; returns as ``send``."""
        steps = self._groups.overdue()
        if not steps:
            return []
        lost = self.send(steps)
        self.settled(steps)
        return lost

    def _parcel(self, step: Step) -> Parcel:
        changes = {"chain": step.chain} if step.owed is Owed.NEXT else {}
        payload, header = self._codec.relabel(step.payload, enqueued_at=self._clock(), **changes)
        options = header.options
        return Parcel(options.broker, options.cluster, Message(payload, options.priority, options.not_before))
