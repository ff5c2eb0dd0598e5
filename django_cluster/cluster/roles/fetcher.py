"""Leases messages for a pusher, verifies them, and rejects or returns what cannot be decoded."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from django_cluster.brokers.base import Broker
from django_cluster.brokers.messages import Delivery, payload_from
from django_cluster.brokers.multi_queue import MultiQueueBroker
from django_cluster.cluster.ipc.scoreboard import Scoreboard
from django_cluster.cluster.ipc.words import APPLIED_PAUSES, COMMANDS_UNREAD, PAUSED_QUEUES
from django_cluster.cluster.roles.assignments import Assignments, LeasedMessage
from django_cluster.cluster.roles.prefetch import FetchSize
from django_cluster.cluster.roles.reject_quota import (
    MAX_BYTES_PER_DAY,
    MAX_MESSAGES_PER_DAY,
    POSTPONED_SECONDS,
    RejectQuota,
    truncated,
)
from django_cluster.cluster.roles.verification_crashes import VerificationCrashes
from django_cluster.cluster.roles.worker_loss import WorkerLossReporter
from django_cluster.core.codec import Codec
from django_cluster.core.events.messages import MESSAGE_REJECTED, MESSAGES_RETURNED, REJECT_QUOTA_EXCEEDED
from django_cluster.core.messages import Job
from django_cluster.core.settings import BrokerSettings
from django_cluster.errors import BadSignature, LibraryMissing, PackageError, PayloadMissing, UnknownFormat
from django_cluster.lifecycle.rejection import rejected_outcome

BLOCK_SECONDS = 0.5
"""Seconds that a lease may block at the broker while nothing else is to be done."""
COMMANDS_SECONDS, COMMANDS_CHECK_SECONDS = 5.0, 0.01
"""Seconds that a pusher waits at most until the monitor has read what is paused, and between two looks."""
PAUSE_CHECK_SECONDS = 0.5
"""Seconds between two checks whether a paused queue is resumed."""
MAX_VERIFICATION_CRASHES = 2
"""A message is rejected unopened after this many known crashes of pushers. Where the broker counts attempts, one more
pusher has crashed before, when the message was leased for the first time."""
SINGLE_FETCH_LEASES = 2
"""Length, in leases, of the time after a crash in which one message is leased at a time."""
MAX_FOREIGN_ATTEMPTS = 3
"""Attempts after which a message with a foreign signature is rejected: until then another cluster may own it."""
READABLE_ELSEWHERE = (BadSignature, LibraryMissing, PayloadMissing)
"""Errors that another cluster may not have."""


class Fetcher:
    """Leases messages, verifies them, and adds them to the assignments of a pusher."""

    def __init__(
        self,
        incarnation: tuple[int, int],
        board: Scoreboard,
        broker: Broker,
        codec: Codec,
        assignments: Assignments,
        loss_reporter: WorkerLossReporter,
        crashes: VerificationCrashes,
        sections: Sequence[BrokerSettings],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``incarnation``: number and row of the pusher. ``sections``: the settings of each queue of ``broker``."""
        self._crashes, self._reject_quota = crashes, RejectQuota(clock)
        self._incarnation, self._row = incarnation
        self._board, self._broker, self._codec = board, broker, codec
        self._assignments, self._loss_reporter, self._clock = assignments, loss_reporter, clock
        self._lease, self._poll = min(each.lease for each in sections), min(each.poll for each in sections)
        self._bulk = min(max(each.bulk for each in sections), broker.capabilities.bulk)
        self._fetch_size = FetchSize()
        self._several = broker if isinstance(broker, MultiQueueBroker) else None
        # A pusher that acknowledges for the monitor must react immediately: it waits for both in one call.
        self._blocking = broker.capabilities.blocking and broker.capabilities.portable_receipts
        counts = broker.capabilities.counts_attempts
        self._unproven_attempts = 1 if counts else 0
        """A message with more attempts than this may have crashed a pusher."""
        self._max_crashes = MAX_VERIFICATION_CRASHES if counts else MAX_VERIFICATION_CRASHES + 1
        self._single_until = clock() + SINGLE_FETCH_LEASES * self._lease if crashes.predecessor_crashed else 0.0
        self._look_at = 0.0
        self._commands_until = clock() + COMMANDS_SECONDS
        self.has_wakeup = False
        """Whether a descriptor of the broker wakes the pusher; then ``fetch`` may be called in each turn."""

    def fetch_now(self) -> None:
        """Let the next ``fetch`` ask the broker: a worker has requested jobs."""
        self._look_at = 0.0

    @property
    def next_fetch_at(self) -> float:
        """The time, of the clock, at which the broker is to be asked again."""
        return self._clock() + self._poll if self.has_wakeup else self._look_at

    def fetch(self, capacity: int, not_after: float = math.inf) -> bool:
        """Lease what there is room for, up to the moment ``not_after`` of the clock (see ``Broker.lease``).

        Blocks for up to ``BLOCK_SECONDS`` if nothing else is to be done. Returns whether the broker refused the claim
        because it came too late: leases have to be renewed first. Raises ``BrokerError``.
        """
        room = min(capacity, self._bulk, self._fetch_size.size)
        now = self._clock()
        if now < self._single_until:
            room = min(room, 1)  # one message crashes the pusher; the others need not lose an attempt with it
        if self._may_be_paused(now):
            return False
        if self._apply_pauses():
            self._broker.stop_prefetch()
            self._look_at = now + PAUSE_CHECK_SECONDS
            return False
        if not room or (now < self._look_at and not self.has_wakeup):
            return False
        blocking = self._blocking and not self._loss_reporter.busy and not self._assignments.unassigned
        wait = min(BLOCK_SECONDS, self._lease / 6) if blocking else 0.0
        deliveries = self._broker.lease(room, wait, not_after=not_after)
        self._accept(deliveries)
        if deliveries:
            return False
        took = self._clock() - now
        turned_away = blocking and took < wait / 2
        if not blocking or turned_away:
            self._look_at = now + took + self._poll
        return turned_away

    def _may_be_paused(self, now: float) -> bool:
        """Whether this cluster has just started, and does not know yet what is paused. Without a database, never."""
        if not self._board.cluster_word(COMMANDS_UNREAD) or now >= self._commands_until:
            return False
        self._look_at = now + COMMANDS_CHECK_SECONDS
        return True

    def _apply_pauses(self) -> bool:
        """Whether all queues of the cluster are paused."""
        paused = self._board.cluster_word(PAUSED_QUEUES)
        self._board.set(self._row, APPLIED_PAUSES, paused)
        if self._several is None:
            return bool(paused)
        self._several.paused = paused
        return paused == (1 << len(self._several.members)) - 1

    def _accept(self, deliveries: Sequence[Delivery]) -> None:
        deliveries = [each if type(each.payload) is str else with_text_payload(each) for each in deliveries]
        self._fetch_size.observe([delivery.payload for delivery in deliveries])
        foreign: list[tuple[Delivery, PackageError]] = []
        left: list[Delivery] = []
        for delivery in deliveries:
            try:
                body = self._body(delivery)
            except PackageError as error:
                if isinstance(error, READABLE_ELSEWHERE) and delivery.attempt < MAX_FOREIGN_ATTEMPTS:
                    foreign.append((delivery, error))
                elif isinstance(error, PayloadMissing) or self._reject_quota.accept(delivery.payload):
                    self._reject(delivery, error)
                else:
                    left.append(delivery)
            else:
                self._assignments.unassigned.append(
                    LeasedMessage(body, delivery.receipt, delivery.attempt, self._queue_of(delivery))
                )
        if foreign:
            self._return_to_queue(foreign)
        if left:
            self._postpone(left)

    def _body(self, delivery: Delivery) -> bytes:
        """The verified body. Raises ``PackageError``, whatever is wrong with the message.

        A lack of memory is not the fault of the message: it ends this pusher, and its successor leases one at a time.
        """
        try:
            again = delivery.attempt > self._unproven_attempts
            codec = self._codec.for_queue(self._queue_of(delivery))
            return self._verify_suspect(codec, delivery.payload) if again else codec.verify(delivery.payload)
        except (PackageError, MemoryError):
            raise
        except Exception as error:
            raise UnknownFormat(f"The message cannot be read: {type(error).__name__}: {error}") from error

    def _verify_suspect(self, codec: Codec, payload: str) -> bytes:
        """The body of a message that was leased before, and may have crashed the pusher that verified it."""
        if (crashes_of := self._crashes.count(payload)) >= self._max_crashes:
            crashes_of += self._unproven_attempts
            raise UnknownFormat(f"The message was not opened: {crashes_of} pushers have died while they looked at it.")
        self._crashes.begin(payload)
        try:
            return codec.verify(payload)
        finally:
            self._crashes.end()

    def _postpone(self, deliveries: Sequence[Delivery]) -> None:
        """Return messages to the queue when the quota of rejected messages for a day is used up."""
        self._broker.release(deliveries, POSTPONED_SECONDS)
        REJECT_QUOTA_EXCEEDED.log(
            count=len(deliveries),
            reason=f"{MAX_MESSAGES_PER_DAY} of them, or {MAX_BYTES_PER_DAY >> 20} MiB, were rejected within a day",
        )

    def _return_to_queue(self, messages: Sequence[tuple[Delivery, PackageError]]) -> None:
        """Return messages for the cluster that owns them. Each time counts as an attempt, so that there is an end."""
        self._broker.release([delivery for delivery, _ in messages], self._lease)
        MESSAGES_RETURNED.log(count=len(messages), error=messages[0][1])

    def _reject(self, delivery: Delivery, error: PackageError) -> None:
        MESSAGE_REJECTED.log(error=error)
        body = (error.body if isinstance(error, PayloadMissing) else None) or b""
        number, queue = self._assignments.new_number(), self._queue_of(delivery)
        job = Job(number, body, delivery.receipt, delivery.attempt, queue)
        rejected = rejected_outcome(job, truncated(delivery.payload), error, time.time(), "pusher")
        self._loss_reporter.report([rejected])

    def _queue_of(self, delivery: Delivery) -> str:
        return delivery.queue or self._codec.queue


def with_text_payload(delivery: Delivery) -> Delivery:
    """The delivery with its payload as text: a text column may hold bytes, a custom broker may return any object."""
    return delivery._replace(payload=payload_from(delivery.payload))
