"""The pusher: broker → jobs.

It leases what workers have asked for, keeps every lease alive until its job is settled, and accounts for
the jobs of workers that die: what they had begun is reported to the monitor, the rest goes to others.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from django_cluster.brokers.base import Broker, Delivery
from django_cluster.brokers.several import SeveralQueues
from django_cluster.cluster.ledger import Borrower, Ledger, Loan
from django_cluster.cluster.scoreboard import DONE, OBEYED, PAUSED, POST, REVOKED, STATE, Scoreboard, State
from django_cluster.cluster.seat import Orders, Role, Seat, who_sits
from django_cluster.cluster.settling import carry_out
from django_cluster.cluster.undertaker import Undertaker
from django_cluster.cluster.window import Portion
from django_cluster.cluster.wire import Heard, Hub, Peer
from django_cluster.core.codec import Codec
from django_cluster.core.messages import Job
from django_cluster.core.outage import Outage
from django_cluster.core.settings import BrokerSettings, CrewSettings
from django_cluster.errors import BadSignature, BrokerError, PackageError, PayloadMissing
from django_cluster.lifecycle.execute import rejected

logger = logging.getLogger("django_cluster")

PAUSE = 0.5
"""Seconds of the longest sleep between two looks around."""
BLOCK = 0.5
"""Seconds for which the broker may hold us while nothing else is to be done."""
FEW = 0.02
"""Seconds of sleep while an obituary waits for its exit code, or the monitor for us."""
SLOW = 0.1
"""Seconds after which jobs that wait behind a running one are taken back for an idle worker."""
STORE_FENCE = 0.001
"""Seconds until a word written by another processor has certainly become visible (it takes well below that)."""
PATIENCE_WITH_STRANGERS = 3
"""A message with a foreign signature is put aside when it is lent for the third time: it may be another's."""


class Pusher:
    """Hands out jobs over the private lines of the workers."""

    def __init__(
        self,
        seat: Seat,
        board: Scoreboard,
        orders: Orders,
        broker: Broker,
        codec: Codec,
        settings: tuple[BrokerSettings, CrewSettings],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seat, self._board, self._orders = seat, board, orders
        self._broker, self._codec, self._clock = broker, codec, clock
        sections = [each.settings for each in broker.members] if isinstance(broker, SeveralQueues) else settings[:1]
        self._lease, self._poll = min(each.lease for each in sections), min(each.poll for each in sections)
        self._bulk = min(max(each.bulk for each in sections), broker.capabilities.bulk)
        self._prefetch = settings[1].prefetch
        self._portion = Portion()
        self._several = broker if isinstance(broker, SeveralQueues) else None
        self._hub = Hub(seat.folder.jobs)
        self._hub.also_wake_for(orders.fileno())
        self._ledger = Ledger(seat.number)
        self._undertaker = Undertaker(seat, board, orders, codec, self._ledger, clock)
        self._outage = Outage("The broker", clock)
        self._renew_at = 0.0  # at once: a predecessor may have died long ago
        self._look_at = 0.0
        self._tied = not broker.capabilities.receipts_travel
        # Elsewhere, to renew what has been given back would put its next run off.
        self._renews_what_is_done = not self._tied and broker.capabilities.fenced
        self._wakes = False  # whether a tied broker tells us when to look again; then looking costs nothing
        self.stopping = False

    # ── the loop ─────────────────────────────────────────────────────────────────────────────────

    def run(self) -> None:
        """Until told to leave, and then until the last worker has left."""
        self._board.set(self._seat.row, STATE, State.IDLE)
        while not self.gone:
            self.tick()
        self._board.set(self._seat.row, STATE, State.LEAVING)
        self.close()

    def close(self) -> None:
        self._undertaker.close()
        self._hub.close()
        if self._tied:
            with suppress(BrokerError):
                self._broker.close()

    @property
    def gone(self) -> bool:
        return self._idle and (not self._tied or self._undertaker.dismissed)

    @property
    def _idle(self) -> bool:
        """Whether nothing is left to do but what the monitor may still ask for."""
        return self.stopping and not (self._ledger.borrowers or self._ledger.loans or self._undertaker.busy)

    def tick(self) -> None:
        """One turn: hear the workers, account for the dead, keep leases, hand out."""
        if self._tied:
            descriptor = self._broker.descriptor()
            self._wakes = descriptor is not None or self._several is not None  # several have none in common
            self._hub.wake_for(descriptor)
        for heard in self._hub.poll(self._pause()):
            self._hear(heard)
        self._undertaker.work()
        if self._orders.leave and not self.stopping:
            self._stop()
        if self._orders.orphaned:
            self._end_running()
        if self._outage.due:
            self._with_broker()
        if self._tied and self._idle:
            self._undertaker.take_leave()
        self._board.set(self._seat.row, DONE, self._ledger.held)

    def _pause(self) -> float:
        now = self._clock()
        if self._undertaker.waiting:
            return FEW
        until = [now + PAUSE, max(self._renew_at, self._outage.retry_at)]
        if self._capacity and not self.stopping:
            until.append(max(now + self._poll if self._wakes else self._look_at, self._outage.retry_at))
        if self._ledger.loans and self._ledger.wanted:
            until.append(self._outage.retry_at)
        return max(0.0, min(until) - now)

    @property
    def _capacity(self) -> int:
        """How many more messages there is room for."""
        return max(0, self._ledger.wanted + self._prefetch - len(self._ledger.loans))

    def _with_broker(self) -> None:
        """Everything that needs the broker; when it is away, everything waits."""
        try:
            if self._tied:
                self._broker.tend()
            self._keep_leases()
            if self.stopping:
                self._give_back()
            else:
                self._unblock()
                self._hand_out()
                self._fetch()
                self._hand_out()
        except BrokerError as error:
            self._outage.failed(error)
        else:
            self._outage.over()

    # ── workers ──────────────────────────────────────────────────────────────────────────────────

    def _hear(self, heard: Heard) -> None:
        for word, *values in heard.messages:
            if word == "hello":
                self._admit(heard.peer, *values)
            elif word == "settle":
                self._settle(heard.peer, *values)
            elif borrower := self._ledger.borrowers.get(heard.peer):
                self._answer(borrower, word, values)
        if heard.ended and (gone := self._ledger.borrowers.pop(heard.peer, None)):
            self._undertaker.take(gone)

    def _admit(self, peer: Peer, seat: int, row: int, waiting: list[Any], held: list[Any]) -> None:
        self._undertaker.give_up(seat)
        borrower = Borrower(peer, seat, row)
        self._ledger.put_first([Job(*each) for each in waiting])
        self._renew_at = 0.0  # before any of it is handed out again
        borrower.kept = {number: receipt for number, receipt, _ in held}
        self._ledger.admit(borrower)

    def _answer(self, borrower: Borrower, word: str, values: list[Any]) -> None:
        if word == "ready":
            wanted, settled = values
            self._ledger.settle(borrower, settled)
            if wanted:
                borrower.wanted += wanted
                self._look_at = 0.0
        elif word == "returned":
            self._ledger.take_back(borrower, values[0])
        elif word == "leaving":
            borrower.wanted = 0

    def _hand_out(self) -> None:
        if not self._ledger.loans:
            return
        for borrower, jobs in self._ledger.deal():
            borrower.peer.send(("jobs", [tuple(job) for job in jobs]))

    def _unblock(self) -> None:
        """Take back what waits behind a slow task while another worker has nothing to do."""
        if self._ledger.loans or not any(b.wanted and not b.jobs for b in self._ledger.borrowers.values()):
            return
        now = self._clock()
        for borrower in self._ledger.borrowers.values():
            if len(borrower.jobs) < 2:
                continue
            row = self._board.read(borrower.row)
            if row.state is State.BUSY and now - row.started > SLOW:
                self._revoke(borrower)

    def _revoke(self, borrower: Borrower) -> None:
        """Take back every job that this worker has not begun.

        The worker writes BEGUN before it reads REVOKED, we write REVOKED before we read BEGUN: for each job
        at least one of us sees the other. If both do, the worker returns the job by message.
        """
        last = max(borrower.jobs, default=0)
        if last <= borrower.revoked:
            return
        borrower.revoked = last
        self._board.set(borrower.row, REVOKED, last)
        time.sleep(STORE_FENCE)
        row = self._board.read(borrower.row)
        if row.seat == borrower.seat:
            self._ledger.take_back(borrower, [job.number for job in borrower.waiting(row.begun)])

    # ── the broker ───────────────────────────────────────────────────────────────────────────────

    def _fetch(self) -> None:
        room = min(self._capacity, self._bulk, self._portion.size)
        now = self._clock()
        if self._obey_pauses():
            self._broker.rest()
            self._look_at = now + PAUSE
            return
        if not room or (now < self._look_at and not self._wakes):
            return
        calm = not self._undertaker.busy and not self._ledger.loans
        # One that settles for the monitor must hear it at once: it waits for the broker and for us together.
        blocking = self._broker.capabilities.blocking and calm and not self._tied
        deliveries = self._broker.lease(room, min(BLOCK, self._lease / 6) if blocking else 0.0)
        self._accept(deliveries)
        if not deliveries and not blocking:
            self._look_at = self._clock() + self._poll

    def _obey_pauses(self) -> bool:
        """Whether nothing at all is to be leased; of several queues, some may be paused."""
        paused = self._board.cluster(PAUSED)
        self._board.set(self._seat.row, OBEYED, paused)
        if self._several is None:
            return bool(paused)
        self._several.paused = paused
        return paused == (1 << len(self._several.members)) - 1

    def _accept(self, deliveries: Sequence[Delivery]) -> None:
        self._portion.learn([delivery.payload for delivery in deliveries])
        strange: list[tuple[str, PackageError]] = []
        for delivery in deliveries:
            try:
                body = self._codec.verify(delivery.payload)
            except PackageError as error:
                if isinstance(error, BadSignature | PayloadMissing) and delivery.attempt < PATIENCE_WITH_STRANGERS:
                    strange.append((delivery.receipt, error))
                else:
                    self._put_aside(delivery, error)
            else:
                self._ledger.loans.append(Loan(body, delivery.receipt, delivery.attempt))
        if strange:
            self._pass_on(strange)

    def _pass_on(self, messages: Sequence[tuple[str, PackageError]]) -> None:
        """Messages that are not ours go back for their owner to find. Each time counts, so that there is an end."""
        self._broker.release([receipt for receipt, _ in messages], self._lease)
        logger.warning(
            "Messages that cannot be read here were given back for others: %d. %s", len(messages), messages[0][1]
        )

    def _put_aside(self, delivery: Delivery, error: PackageError) -> None:
        logger.error("A message that cannot be read was put aside: %s", error)
        receipt, attempt, payload = delivery.receipt, delivery.attempt, delivery.payload
        body = error.body if isinstance(error, PayloadMissing) else None
        aside = rejected(self._ledger.new_number(), receipt, attempt, payload, error, time.time(), "pusher", body)
        self._undertaker.report("outcomes", self._seat.number, [aside])

    def _settle(self, peer: Peer, number: int, verb: str, *values: Any) -> None:
        """What the monitor has filed: only we can tell a broker whose receipts do not travel."""
        if not self._outage.due:
            peer.send(("unsettled", number, "The broker is away."))
            return
        try:
            carry_out(self._broker, verb, values)
        except BrokerError as error:
            if self._several is None or self._several.one_server:  # else the others go on
                self._outage.failed(error)
            peer.send(("unsettled", number, str(error)))
        else:
            peer.send(("settled", number))

    def _keep_leases(self) -> None:
        now = self._clock()
        calls = self._several is not None and self._several.calls
        if now < self._renew_at and not calls:
            return
        kept = {*self._ledger.receipts(), *self._undertaker.receipts(), *self._board.running_receipts()}
        if self._renews_what_is_done:
            kept.update(receipt for row in self._silent_rows() for receipt in self._board.done_receipts(row))
        receipts = [receipt for receipt in kept if receipt]
        # A lost lease of a job that is done is no news: it was acknowledged, and we have not heard *filed* yet.
        if (receipts or calls) and (lost := self._ledger.drop(self._broker.renew(receipts))):
            logger.warning("The lease of %d waiting messages was lost; others will run them.", lost)
        # Only now: after an outage this comes first, or we would be lent again what still runs here.
        self._renew_at = now + self._lease / 3

    def _silent_rows(self) -> list[int]:
        """Of workers that have not called us: they are busy since before we came, and may hold what is not filed."""
        known = {borrower.row for borrower in self._ledger.borrowers.values()}
        rows = set(range(self._board.rows)) - known
        return [row for row in rows if who_sits(self._board.get(row, POST))[0] is Role.WORKER]

    # ── stopping ─────────────────────────────────────────────────────────────────────────────────

    def _stop(self) -> None:
        """Lease no more, and take back what is not begun. The workers hear of it from the sentinel."""
        self.stopping = True
        for borrower in self._ledger.borrowers.values():
            self._revoke(borrower)

    def _end_running(self) -> None:
        """Nobody guards the workers any more: end those at work, where the kernel has not done so."""
        for borrower in self._ledger.borrowers.values():
            row = self._board.read(borrower.row)
            if row.seat == borrower.seat and row.state is State.BUSY:
                with suppress(ProcessLookupError):
                    os.kill(row.pid, signal.SIGKILL)

    def _give_back(self) -> None:
        self._broker.rest()
        if self._undertaker.forsaken and (receipts := self._undertaker.give_back()):
            self._broker.release(receipts)
        if self._ledger.loans:
            sign, loans = self._codec.sign, self._ledger.loans
            self._broker.give_back([Delivery(loan.receipt, sign(loan.body), loan.attempt) for loan in loans])
            loans.clear()
