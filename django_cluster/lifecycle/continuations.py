"""Continuations: what is sent when a member of a composition has ended.

The packages that follow were signed by the process that sent the composition. Here only their headers are changed;
their arguments are not opened. Where the queue is in the database of the rows, recording and sending are one
transaction. Elsewhere the row of the member keeps a pending step until it is sent, and only then is the message of the
member acknowledged: if the monitor dies in between, the message comes back, and the step is sent then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from django_cluster.brokers.messages import Message
from django_cluster.core.codec import CONTINUATION, Codec
from django_cluster.core.compositions import CLAIM_EXPIRES_AFTER, NextSteps, Step
from django_cluster.core.events.tasks import CONTINUATION_FAILED
from django_cluster.core.messages import Job, Outcome, TaskHeader
from django_cluster.errors import NotSupported, PackageError, PayloadTooLarge
from django_cluster.lifecycle.rejection import rejected_outcome
from django_cluster.lifecycle.send import AddressedMessage
from django_cluster.stores.base import GroupStore

RETURN_AFTER_SECONDS = CLAIM_EXPIRES_AFTER.total_seconds() + 1
"""Seconds after which a message comes back, to check that the recorder that has claimed its step has sent it."""
UNSENDABLE = (PackageError, NotSupported, PayloadTooLarge)
"""Errors of a package itself, for which a retry is useless."""

Forward = Callable[[Sequence[AddressedMessage]], None]


class Continuations:
    """``forward`` gives signed packages to the queues that they name, by default to that of the codec."""

    def __init__(
        self,
        groups: GroupStore,
        codec: Codec,
        forward: Forward,
        *,
        claimed_by: str,
        one_server: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``forward``: sends signed packages. ``claimed_by``: name of this recorder in claims; its successor has the
        same. ``one_server``: whether every continuation goes to the server from which the members came.
        """
        self._claimed_by = claimed_by
        self.one_server = one_server
        self._groups = groups
        self._codec, self._following = codec, codec.for_queue(CONTINUATION)
        self._forward = forward
        self._clock = clock

    def record_ends(self, outcomes: Sequence[Outcome], *, deferred: bool) -> NextSteps:
        """See ``GroupStore.record_ends``; ``deferred`` says that the steps are not sent in the same transaction."""
        return self._groups.record_ends(outcomes, claimed_by=self._claimed_by if deferred else None)

    def send(self, steps: Sequence[Step]) -> list[Outcome]:
        """Send what follows; returns the endings of what can never be sent: not signed by us, or refused for good.

        Raises ``BrokerUnavailable`` and ``BrokerRefused``.
        """
        if not steps:
            return []
        try:
            self._forward([self._addressed(step) for step in steps])
        except UNSENDABLE as error:
            if len(steps) > 1:  # alone, each shows whether it is the one
                return [ending for step in steps for ending in self.send([step])]
            CONTINUATION_FAILED.log(member=steps[0].key, error=error)
            return [self._rejected(steps[0], error)]
        return []

    def mark_sent(self, steps: Sequence[Step]) -> None:
        """Record that these have been sent."""
        self._groups.mark_sent(steps)

    def catch_up(self) -> list[Outcome]:
        """Send the steps that a recorder which died has left; returns the outcomes of ``send``."""
        steps = self._groups.claim_overdue(self._claimed_by)
        if not steps:
            return []
        lost = self.send(steps)
        self.mark_sent(steps)
        return lost

    def _rejected(self, step: Step, error: Exception) -> Outcome:
        job = Job(0, self._body(step), "", 1, self._codec.queue)
        return rejected_outcome(job, self._text(step), error, self._clock(), "continuations")

    def _body(self, step: Step) -> bytes:
        """The verified package; empty if it is not signed by this project."""
        try:
            return self._following.verify(step.payload)
        except PackageError:
            return b""

    def _text(self, step: Step) -> str:
        """The message as it would be sent, for the row of one that cannot be sent: an operator may retry it."""
        try:
            return self._signed(step)[0]
        except PackageError:
            return step.payload

    def _addressed(self, step: Step) -> AddressedMessage:
        payload, header = self._signed(step)
        options = header.options
        return AddressedMessage(options.broker, options.queue, Message(payload, options.priority, options.not_before))

    def _signed(self, step: Step) -> tuple[str, TaskHeader]:
        """The package signed for its queue, and its header."""
        now = self._clock()
        return self._following.replace_header(
            step.payload, lambda header: step.labelled(header, now), self._codec.queue
        )
