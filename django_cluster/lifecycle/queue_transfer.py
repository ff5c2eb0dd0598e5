"""Move messages from one queue into another, while clusters may work on both, or on neither.

*Ready* messages are leased from the source, published to the target, and then acknowledged at the source. *Delayed*
ones cannot be leased; they are copied with their due time and then cancelled, unless they become due so soon that a
cluster might lease them in between. A process that is killed at any point leaves each message in at least one of the
two queues, and in both only if it died between the copy and the deletion.

Messages are not opened. Their signature is for one queue: a message with a valid signature is signed again for the
other queue. Any other message is moved as it is, and rejected there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from django_cluster.brokers.base import Broker
from django_cluster.brokers.messages import Delivery, Message, QueuedMessage
from django_cluster.brokers.publisher import Publisher
from django_cluster.core.codec import peek_header
from django_cluster.core.events.messages import DELAYED_TASK_REFUSED
from django_cluster.core.headers import PRIORITIES
from django_cluster.core.liveness import report_progress
from django_cluster.core.time import LAST_MOMENT
from django_cluster.errors import BrokerRefused, BrokerUnavailable, PackageError

BATCH = 500
REJECTED_DELAY_SECONDS = 60.0
"""Seconds after which a rejected message is tried again."""
MIN_COPY_DELAY_SECONDS = 10.0
"""Messages due in less than this many seconds are not copied: they might be leased while they are being cancelled."""


@dataclass(slots=True)
class TransferResult:
    """Numbers of messages that were moved."""

    ready: int = 0
    delayed: int = 0
    refused: list[str] = field(default_factory=list)
    """Errors of the target for messages that it does not accept; they stay in the source."""
    duplicated: int = 0
    """Messages that were copied, and leased by a cluster before they were cancelled: they will run twice."""

    @property
    def total(self) -> int:
        return self.ready + self.delayed


class QueueTransfer:
    """Moves from ``source`` to ``target``; ``clock`` is that of the servers, Unix time."""

    def __init__(
        self,
        source: Broker,
        target: Broker,
        clock: Callable[[], float] = time.time,
        signed: Callable[[str], str] | None = None,
    ) -> None:
        """``signed``: text of a message → its text for the queue of ``target``; None = it is the same queue."""
        self._signed = signed or (lambda text: text)
        self._source, self._target, self._clock = source, target, clock
        self._publisher = Publisher(target)
        # One call of each verb for a batch: the target takes all of it or nothing.
        self._batch = min(BATCH, source.capabilities.bulk, target.capabilities.bulk)
        self._stuck: list[Delivery] = []
        self._refused: set[str] = set()
        self.result = TransferResult()

    def run(self, limit: int | None = None) -> TransferResult:
        """Move all ready and delayed messages, or the first ``limit`` of them; leased messages stay."""
        try:
            while (room := self._room(limit)) and self.move_ready(room):
                pass
            while (room := self._room(limit)) and self.move_delayed(room):
                pass
        finally:
            self._return_stuck()
        return self.result

    def move_due(self) -> int:
        """Everything that is ready; what the target refuses is looked at again after a while."""
        before = self.result.ready
        try:
            while self.move_ready():
                pass
        finally:
            self._return_stuck(REJECTED_DELAY_SECONDS)
        for sentence in self.result.refused:
            DELAYED_TASK_REFUSED.log(error=sentence)
        self.result.refused.clear()
        return self.result.ready - before

    def _room(self, limit: int | None) -> int:
        return self._batch if limit is None else min(self._batch, limit - self.result.total)

    # ── ready ────────────────────────────────────────────────────────────────────────────────────

    def move_ready(self, limit: int = BATCH) -> int:
        """Move one batch, in the order of leasing; returns how many messages the source has leased."""
        report_progress()
        deliveries = self._source.lease(min(limit, self._batch))
        if not deliveries:
            return 0
        try:
            taken = self._taken([(delivery.receipt, self._message(delivery)) for delivery in deliveries])
        except Exception:
            self._source.release(deliveries, refund_attempt=True)
            raise
        self._source.acknowledge(taken)
        self.result.ready += len(taken)
        left = {delivery.receipt for delivery in deliveries}.difference(taken)
        self._stuck += [delivery for delivery in deliveries if delivery.receipt in left]
        return len(deliveries)

    def _message(self, delivery: Delivery) -> Message:
        text = self._signed(delivery.payload)
        return Message(text, self._priority(priority_of(delivery.payload)), None, delivery.attempt - 1)

    def _taken(self, messages: Sequence[tuple[str, Message]]) -> list[str]:
        """The names of those that the target has taken."""
        fitting: list[tuple[str, Message]] = []
        odd: list[tuple[str, Message]] = []
        for name, message in messages:
            try:
                self._publisher.check([message])
            except BrokerRefused as error:
                self._refuse(name, error)
            else:
                (fitting if is_plain(message) else odd).append((name, message))
        return self._put(fitting) + [name for each in odd for name in self._put([each])]

    def _put(self, messages: Sequence[tuple[str, Message]]) -> list[str]:
        """The names of those that the target has taken. One that it cannot take is no matter of the others."""
        if not messages:
            return []
        try:
            self._publisher.publish([message for _, message in messages])
        except BrokerUnavailable:
            raise
        except Exception as error:  # whatever a library says of a value
            if len(messages) == 1:
                self._refuse(messages[0][0], error)
                return []
            if not self._target.capabilities.atomic:
                raise  # some of them may have been taken
            middle = len(messages) // 2
            return self._put(messages[:middle]) + self._put(messages[middle:])
        return [name for name, _ in messages]

    def _refuse(self, name: str, error: Exception) -> None:
        self._refused.add(name)
        self.result.refused.append(str(error) or type(error).__name__)

    def _return_stuck(self, delay: float = 0.0) -> None:
        if self._stuck:
            self._source.release(self._stuck, delay, refund_attempt=True)
            self._stuck = []

    # ── delayed ──────────────────────────────────────────────────────────────────────────────────

    def move_delayed(self, limit: int = BATCH) -> int:
        """One batch, the soonest first; returns how many were moved."""
        able = self._source.capabilities
        if not (able.peek and able.cancel):
            return 0
        # Leased messages, and those that become due soon, may come before them.
        size = self._source.size()
        seen = self._source.peek(limit + size.ready + size.leased + len(self._refused) + BATCH)
        late = [each for each in seen if self._is_far(each) and each.key not in self._refused][:limit]
        taken = self._taken([(each.key, self._copy(each)) for each in late])
        cancelled = self._source.cancel(taken) if taken else 0
        self.result.delayed += len(taken)
        self.result.duplicated += len(taken) - cancelled
        return len(taken)

    def _is_far(self, waiting: QueuedMessage) -> bool:
        return not waiting.leased and waiting.due is not None and waiting.due > self._clock() + MIN_COPY_DELAY_SECONDS

    def _copy(self, waiting: QueuedMessage) -> Message:
        due = None if waiting.due is None else min(waiting.due, LAST_MOMENT)
        return Message(self._signed(waiting.payload), self._priority(waiting.priority), due, waiting.attempts)

    def _priority(self, wish: int) -> int:
        if not self._target.capabilities.priority:
            return 0
        return max(PRIORITIES.start, min(PRIORITIES.stop - 1, wish))


def is_plain(message: Message) -> bool:
    """Whether it looks like what we have sent ourselves: every server takes such text."""
    return message.payload.isascii() and message.payload.isprintable()


def priority_of(payload: str) -> int:
    """The priority in the header, which is not verified: a program that can write into the queue could set any
    priority.

    0 for a header that cannot be read: the message is moved as it is, and the cluster that leases it rejects it.
    """
    try:
        priority = peek_header(payload).options.priority
    except PackageError:
        return 0
    return max(PRIORITIES.start, min(PRIORITIES.stop - 1, priority))
