"""Broker → loans: what is leased, when, and what becomes of a message that cannot be read."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence

from django_cluster.brokers.base import Broker, Delivery, payload_from
from django_cluster.brokers.several import SeveralQueues, codec_of
from django_cluster.cluster.ledger import Ledger, Loan
from django_cluster.cluster.scoreboard import OBEYED, PAUSED, Scoreboard
from django_cluster.cluster.strangers import BYTES_A_DAY, LOOK_AGAIN, MESSAGES_A_DAY, Allowance, shortened
from django_cluster.cluster.suspects import Suspects
from django_cluster.cluster.undertaker import Undertaker
from django_cluster.cluster.window import Portion
from django_cluster.core.codec import Codec
from django_cluster.core.settings import BrokerSettings
from django_cluster.errors import BadSignature, LibraryMissing, PackageError, PayloadMissing, UnknownFormat
from django_cluster.lifecycle.execute import rejected

logger = logging.getLogger("django_cluster")

BLOCK = 0.5
"""Seconds for which the broker may hold us while nothing else is to be done."""
PAUSED_NAP = 0.5
"""Seconds between two looks whether a paused queue is to go on."""
PATIENCE_WITH_KILLERS = 2
"""A message is put aside unopened when so many pushers are known to have died of it. Where the broker counts attempts,
one more has died before, of a message that came for the first time."""
CAREFUL_LEASES = 2
"""For how many leases, after a pusher has died of a message, one message is leased at a time."""
PATIENCE_WITH_STRANGERS = 3
"""A message with a foreign signature is put aside when it is lent for the third time: it may be another's."""
FOR_OTHERS = (BadSignature, LibraryMissing, PayloadMissing)
"""What another cluster may be able to read."""


class Intake:
    """Leases for one pusher, verifies, and adds to its ledger. Whatever is wrong with a message is said once."""

    def __init__(
        self,
        seat: tuple[int, int],
        board: Scoreboard,
        broker: Broker,
        codec: Codec,
        ledger: Ledger,
        undertaker: Undertaker,
        suspects: Suspects,
        sections: Sequence[BrokerSettings],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``seat``: number and row of the pusher. ``sections``: of the queues that ``broker`` stands for."""
        self._suspects, self._allowance = suspects, Allowance(clock)
        self._seat, self._row = seat
        self._board, self._broker, self._codec = board, broker, codec
        self._ledger, self._undertaker, self._clock = ledger, undertaker, clock
        self._lease, self._poll = min(each.lease for each in sections), min(each.poll for each in sections)
        self._bulk = min(max(each.bulk for each in sections), broker.capabilities.bulk)
        self._portion = Portion()
        self._several = broker if isinstance(broker, SeveralQueues) else None
        # One that settles for the monitor must hear it at once: it waits for the broker and for us together.
        self._blocking = broker.capabilities.blocking and broker.capabilities.receipts_travel
        counts = broker.capabilities.counts_attempts
        self._unknown_until = 1 if counts else 0
        """A message with more attempts than this may have killed somebody."""
        self._deaths = PATIENCE_WITH_KILLERS if counts else PATIENCE_WITH_KILLERS + 1
        self._careful_until = clock() + CAREFUL_LEASES * self._lease if suspects.predecessor_died else 0.0
        self._look_at = 0.0
        self.woken = False
        """Whether the broker tells us when to look again; then looking costs nothing."""

    def look_now(self) -> None:
        """Somebody wants work: whatever was found last, look again."""
        self._look_at = 0.0

    @property
    def next_look(self) -> float:
        """The moment of the clock at which the broker is to be asked again."""
        return self._clock() + self._poll if self.woken else self._look_at

    def fetch(self, capacity: int, not_after: float = math.inf) -> bool:
        """Lease what there is room for, up to the moment ``not_after`` of the clock (see ``Broker.lease``).

        Blocks for a moment if nothing else is to be done. Returns whether the claim was turned away because it would
        have come too late: leases have to be renewed first. Raises ``BrokerError``.
        """
        room = min(capacity, self._bulk, self._portion.size)
        now = self._clock()
        if now < self._careful_until:
            room = min(room, 1)  # one message kills; the others need not lose an attempt with it
        if self._obey_pauses():
            self._broker.rest()
            self._look_at = now + PAUSED_NAP
            return False
        if not room or (now < self._look_at and not self.woken):
            return False
        blocking = self._blocking and not self._undertaker.busy and not self._ledger.loans
        wait = min(BLOCK, self._lease / 6) if blocking else 0.0
        deliveries = self._broker.lease(room, wait, not_after=not_after)
        self._accept(deliveries)
        if deliveries:
            return False
        took = self._clock() - now
        turned_away = blocking and took < wait / 2
        if not blocking or turned_away:
            self._look_at = now + took + self._poll
        return turned_away

    def _obey_pauses(self) -> bool:
        """Whether nothing at all is to be leased; of several queues, some may be paused."""
        paused = self._board.cluster(PAUSED)
        self._board.set(self._row, OBEYED, paused)
        if self._several is None:
            return bool(paused)
        self._several.paused = paused
        return paused == (1 << len(self._several.members)) - 1

    def _accept(self, deliveries: Sequence[Delivery]) -> None:
        deliveries = [each if type(each.payload) is str else with_text(each) for each in deliveries]
        self._portion.learn([delivery.payload for delivery in deliveries])
        strange: list[tuple[str, PackageError]] = []
        left: list[str] = []
        for delivery in deliveries:
            try:
                body = self._body(delivery)
            except PackageError as error:
                if isinstance(error, FOR_OTHERS) and delivery.attempt < PATIENCE_WITH_STRANGERS:
                    strange.append((delivery.receipt, error))
                elif isinstance(error, PayloadMissing) or self._allowance.takes(delivery.payload):
                    self._put_aside(delivery, error)
                else:
                    left.append(delivery.receipt)
            else:
                self._ledger.loans.append(Loan(body, delivery.receipt, delivery.attempt))
        if strange:
            self._pass_on(strange)
        if left:
            self._leave(left)

    def _body(self, delivery: Delivery) -> bytes:
        """The verified body. Raises ``PackageError``, whatever is wrong with the message.

        Only a lack of memory is no fault of the message's: it ends this pusher, and its successor looks more carefully.
        """
        try:
            again = delivery.attempt > self._unknown_until
            codec = codec_of(self._codec, delivery.receipt)
            return self._looked_at(codec, delivery.payload) if again else codec.verify(delivery.payload)
        except (PackageError, MemoryError):
            raise
        except Exception as error:
            raise UnknownFormat(f"The message cannot be read: {type(error).__name__}: {error}") from error

    def _looked_at(self, codec: Codec, payload: str) -> bytes:
        """The body of a message that was leased before, and may have killed whoever looked at it."""
        if (deaths := self._suspects.deaths(payload)) >= self._deaths:
            deaths += self._unknown_until
            raise UnknownFormat(f"The message was not opened: {deaths} pushers have died while they looked at it.")
        self._suspects.begin(payload)
        try:
            return codec.verify(payload)
        finally:
            self._suspects.end()

    def _leave(self, receipts: Sequence[str]) -> None:
        """More than a day's rows of what cannot be read: the rest stays in the queue for a while."""
        self._broker.release(receipts, LOOK_AGAIN)
        logger.error(
            "%d messages that cannot be read were left in the queue for an hour: %d of them, or %d MiB, were put aside"
            " within a day, and more is not kept as rows.",
            len(receipts), MESSAGES_A_DAY, BYTES_A_DAY >> 20,
        )  # fmt: skip

    def _pass_on(self, messages: Sequence[tuple[str, PackageError]]) -> None:
        """Messages that are not ours go back for their owner to find. Each time counts, so that there is an end."""
        self._broker.release([receipt for receipt, _ in messages], self._lease)
        logger.warning(
            "Messages that cannot be read here were given back for others: %d. %s", len(messages), messages[0][1]
        )

    def _put_aside(self, delivery: Delivery, error: PackageError) -> None:
        logger.error("A message that cannot be read was put aside: %s", error)
        receipt, attempt, payload = delivery.receipt, delivery.attempt, shortened(delivery.payload)
        body = error.body if isinstance(error, PayloadMissing) else None
        aside = rejected(self._ledger.new_number(), receipt, attempt, payload, error, time.time(), "pusher", body)
        self._undertaker.report("outcomes", self._seat, [aside])


def with_text(delivery: Delivery) -> Delivery:
    """The same with a payload that is text: bytes may stand in a column for text, and another's adapter may lend any
    object."""
    return delivery._replace(payload=payload_from(delivery.payload))
