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
from django_cluster.core.codec import FOLLOWING, Codec
from django_cluster.core.composing import Step
from django_cluster.core.messages import Outcome, TaskHeader
from django_cluster.errors import NotSupported, PackageError, PayloadTooLarge
from django_cluster.lifecycle.execute import rejected
from django_cluster.lifecycle.send import Parcel
from django_cluster.stores.orm_groups import TAKEN_OVER, GroupBook, Noted

logger = logging.getLogger("django_cluster")

BACK_IN = TAKEN_OVER.total_seconds() + 1
"""Seconds after which a message comes back, to see whether its step was sent by whoever was about to."""
NEVER = (PackageError, NotSupported, PayloadTooLarge)
"""What is wrong with a package itself: to try again would change nothing."""

Forward = Callable[[Sequence[Parcel]], None]


class Relay:
    """``forward`` gives signed packages to the queues that they name, by default to that of the codec."""

    def __init__(
        self,
        groups: GroupBook,
        codec: Codec,
        forward: Forward,
        *,
        debtor: str,
        one_server: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``debtor``: names those of whom only one records at a time. ``one_server``: whether all that follows goes
        to the server from which the members came."""
        self._debtor = debtor
        self.one_server = one_server
        self._groups = groups
        self._codec, self._following = codec, codec.of(FOLLOWING)
        self._forward = forward
        self._clock = clock

    def note(self, outcomes: Sequence[Outcome], *, owing: bool) -> Noted:
        """See ``GroupBook.note``; ``owing`` says that the steps are not sent in the same transaction."""
        return self._groups.note(outcomes, debtor=self._debtor if owing else None)

    def send(self, steps: Sequence[Step]) -> list[Outcome]:
        """Send what follows; returns the endings of what can never be sent: not signed by us, or refused for good.

        Raises ``BrokerUnavailable`` and ``BrokerRefused``.
        """
        if not steps:
            return []
        try:
            self._forward([self._parcel(step) for step in steps])
        except NEVER as error:
            if len(steps) > 1:  # alone, each shows whether it is the one
                return [ending for step in steps for ending in self.send([step])]
            logger.error("What follows the member %s cannot be sent: %s", steps[0].key, error)
            return [rejected(0, "", 1, self._text(steps[0]), error, self._clock(), "relay", self._body(steps[0]))]
        return []

    def settled(self, steps: Sequence[Step]) -> None:
        """These have been sent, and are owed no longer."""
        self._groups.settled(steps)

    def catch_up(self) -> list[Outcome]:
        """Send what somebody who died should have sent a while ago; returns as ``send``."""
        steps = self._groups.overdue(self._debtor)
        if not steps:
            return []
        lost = self.send(steps)
        self.settled(steps)
        return lost

    def _body(self, step: Step) -> bytes | None:
        try:
            return self._following.verify(step.payload)
        except PackageError:
            return None

    def _text(self, step: Step) -> str:
        """The message as it would be sent, for the row of one that cannot be sent: an operator may retry it."""
        try:
            return self._signed(step)[0]
        except PackageError:
            return step.payload

    def _parcel(self, step: Step) -> Parcel:
        payload, header = self._signed(step)
        options = header.options
        return Parcel(options.broker, options.cluster, Message(payload, options.priority, options.not_before))

    def _signed(self, step: Step) -> tuple[str, TaskHeader]:
        """Signed for the queue into which it goes, with the label under which it goes there."""
        now = self._clock()
        return self._following.relabel(step.payload, lambda header: step.labelled(header, now), self._codec.queue)
