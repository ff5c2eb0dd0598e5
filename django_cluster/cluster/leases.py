"""Which leases a cluster keeps alive, and when: of everything that anybody in it holds."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from django_cluster.brokers.base import Broker
from django_cluster.brokers.several import SeveralQueues
from django_cluster.cluster.ledger import Ledger
from django_cluster.cluster.scoreboard import POST, Scoreboard
from django_cluster.cluster.seat import Role, who_sits
from django_cluster.cluster.undertaker import Undertaker

logger = logging.getLogger("django_cluster")


class Leases:
    """Renewed by the pusher, three times in the length of a lease (``seconds``)."""

    def __init__(
        self,
        board: Scoreboard,
        broker: Broker,
        ledger: Ledger,
        undertaker: Undertaker,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._board, self._broker, self._ledger, self._undertaker = board, broker, ledger, undertaker
        self._period, self._clock = seconds / 3, clock
        self._several = broker if isinstance(broker, SeveralQueues) else None
        # Elsewhere, to renew what has been given back would put its next run off.
        self._renews_what_is_done = broker.capabilities.receipts_travel and broker.capabilities.fenced
        self.due_at = 0.0
        """The moment of the clock of the next renewal. At once: a predecessor may have died long ago."""

    def renew_now(self) -> None:
        """Before anything else is done: somebody has come who may hold what has nearly ended."""
        self.due_at = 0.0

    def keep(self) -> None:
        """Renew all if it is time. Loans whose lease was lost are forgotten. Raises ``BrokerError``."""
        now = self._clock()
        calls = self._several is not None and self._several.calls
        if now < self.due_at and not calls:
            return
        receipts = self._held()
        # A lost lease of a job that is done is no news: it was acknowledged, and we have not heard *filed* yet.
        if (receipts or calls) and (lost := self._ledger.drop(self._broker.renew(receipts))):
            logger.warning("The lease of %d waiting messages was lost; others will run them.", lost)
        # Only now: after an outage this comes first, or we would be lent again what still runs here.
        self.due_at = now + self._period

    def _held(self) -> list[str]:
        held = {*self._ledger.receipts(), *self._undertaker.receipts(), *self._board.running_receipts()}
        if self._renews_what_is_done:
            held.update(receipt for row in self._silent_rows() for receipt in self._board.done_receipts(row))
        return [receipt for receipt in held if receipt]

    def _silent_rows(self) -> list[int]:
        """Of workers that have not called us: they are busy since before we came, and may hold what is not filed."""
        known = {borrower.row for borrower in self._ledger.borrowers.values()}
        rows = set(range(self._board.rows)) - known
        return [row for row in rows if who_sits(self._board.get(row, POST))[0] is Role.WORKER]
