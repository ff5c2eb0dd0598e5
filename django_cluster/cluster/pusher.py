"""The pusher: broker → jobs.

It leases what workers have asked for (``intake.py``), keeps every lease alive until its job is settled
(``leases.py``), hands out, and accounts for the jobs of workers that die (``undertaker.py``): what they had
begun is reported to the monitor, the rest goes to others.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django_cluster.brokers.base import Broker, Delivery
from django_cluster.brokers.several import SeveralQueues, codec_of
from django_cluster.cluster.host import let_others_run
from django_cluster.cluster.intake import Intake
from django_cluster.cluster.leases import Leases
from django_cluster.cluster.ledger import Borrower, Ledger
from django_cluster.cluster.scoreboard import DONE, REVOKED, STATE, Scoreboard, State
from django_cluster.cluster.seat import Orders, Seat
from django_cluster.cluster.settling import carry_out
from django_cluster.cluster.suspects import Suspects
from django_cluster.cluster.undertaker import Undertaker
from django_cluster.cluster.until_empty import QueueWatch
from django_cluster.cluster.wire import Heard, Hub, Peer
from django_cluster.core.codec import Codec
from django_cluster.core.liveness import report_progress
from django_cluster.core.messages import Job
from django_cluster.core.outage import Outage
from django_cluster.core.settings import BrokerSettings, CrewSettings
from django_cluster.errors import BrokerError

logger = logging.getLogger("django_cluster")

PAUSE = 0.5
"""Seconds of the longest sleep between two looks around."""
FEW = 0.02
"""Seconds of sleep while an obituary waits for its exit code, or the monitor for us."""
SLOW = 0.1
"""Seconds after which jobs that wait behind a running one are taken back for an idle worker."""
LIMIT_LOOK_SECONDS = 0.005
"""Seconds between two looks for room while ``queue_limit`` is reached."""
STORE_FENCE = 0.001
"""Seconds until a word written by another processor has certainly become visible (it takes well below that)."""


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
        self._queue_limit = settings[1].prefetch
        self._several = broker if isinstance(broker, SeveralQueues) else None
        self._hub = Hub(seat.folder.jobs)
        self._hub.also_wake_for(orders.fileno())
        self._ledger = Ledger(seat.number)
        self._undertaker = Undertaker(seat, board, orders, codec, self._ledger, clock)
        self._outage = Outage("The broker", clock)
        self._leases = Leases(
            board, broker, self._ledger, self._undertaker, min(each.lease for each in sections), clock
        )
        self._suspects = Suspects(seat.folder.path)
        self._intake = Intake(
            (seat.number, seat.row), board, broker, codec,
            self._ledger, self._undertaker, self._suspects, sections, clock,
        )  # fmt: skip
        self._watch = QueueWatch(board, seat.row, broker, clock)
        self._tied = not broker.capabilities.receipts_travel
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
        self._suspects.close()
        if self._tied:
            with suppress(BrokerError):
                self._broker.close()

    @property
    def gone(self) -> bool:
        return self._idle and (not self._tied or (self._undertaker.dismissed and self._settled))

    @property
    def _settled(self) -> bool:
        """Whether the broker knows everything that was acknowledged; or it has had long enough."""
        unsettled = self._broker.unsettled
        if unsettled and self._undertaker.out_of_patience:
            logger.warning(
                "Not acknowledged before the stop: %d messages whose connection was lost; their tasks may run again",
                unsettled, extra={"event": "acknowledgements_left"},
            )  # fmt: skip
            return True
        return not unsettled

    @property
    def _idle(self) -> bool:
        """Whether nothing is left to do but what the monitor may still ask for."""
        return self.stopping and not (self._ledger.borrowers or self._ledger.loans or self._undertaker.busy)

    @property
    def _holds(self) -> bool:
        """Whether anything is leased here, be it only until the monitor has heard of a dead worker."""
        kept = any(borrower.kept for borrower in self._ledger.borrowers.values())
        return bool(self._ledger.held or kept or self._undertaker.busy)

    def tick(self) -> None:
        """One turn: hear the workers, account for the dead, keep leases, hand out."""
        self._board.tick(self._seat.row)
        if self._tied:
            descriptor = self._broker.descriptor()
            self._intake.woken = descriptor is not None or self._several is not None  # several have none in common
            self._hub.wake_for(descriptor)
        for heard in self._hub.poll(self._pause()):
            self._hear(heard)
        for borrower in [b for b in self._ledger.borrowers.values() if self._board.has_ended(b.row, b.seat)]:
            self._hear(self._hub.finish(borrower.peer))  # what its tasks have started may keep its line open
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
        until = [now + PAUSE, max(self._leases.due_at, self._outage.retry_at)]
        if self._capacity and not self.stopping:
            until.append(max(self._intake.next_look, self._outage.retry_at))
        elif self._queue_limit and self._ledger.wanted and not self.stopping:
            until.append(now + LIMIT_LOOK_SECONDS)  # no worker tells us when it begins a job
        if self._ledger.loans and self._ledger.wanted:
            until.append(self._outage.retry_at)
        return max(0.0, min(until) - now)

    @property
    def _capacity(self) -> int:
        """How many more messages there is room for: what workers have asked for, and no more than ``queue_limit``
        beyond what they run."""
        limit, ledger = self._queue_limit, self._ledger
        asked = ledger.wanted + limit - len(ledger.loans)
        if limit and asked > 0:
            asked = min(asked, limit + len(ledger.borrowers) - self._unfinished())
        return max(0, asked)

    def _unfinished(self) -> int:
        """Jobs in this cluster that wait or run; those that are done, and not recorded yet, do not count."""
        count = len(self._ledger.loans)
        for borrower in self._ledger.borrowers.values():
            row = self._board.read(borrower.row)
            count += len(borrower.waiting(row.begun)) + (row.state is State.BUSY)
        return count

    def _with_broker(self) -> None:
        """Everything that needs the broker; when it is away, everything waits."""
        try:
            if self._tied:
                self._broker.tend()
            self._leases.keep()
            report_progress()  # the next step may wait for the broker for as long again
            if self.stopping:
                self._give_back()
            else:
                self._recall_lost()
                self._unblock()
                self._hand_out()
                if self._intake.fetch(self._capacity, self._leases.certain_until):
                    self._leases.renew_now()
                self._hand_out()
                if self._watch.wanted:
                    self._watch.look(holds=self._holds)
        except BrokerError as error:
            self._outage.failed(error)
            self._leases.renew_now()  # as soon as it answers, before anything is claimed
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
        self._leases.renew_now()  # before any of it is handed out again
        borrower.kept = {number: receipt for number, receipt, _ in held}
        self._ledger.admit(borrower)

    def _answer(self, borrower: Borrower, word: str, values: list[Any]) -> None:
        if word == "ready":
            wanted, settled = values
            self._ledger.settle(borrower, settled)
            if wanted:
                borrower.wanted += wanted
                self._intake.look_now()
        elif word == "returned":
            self._ledger.take_back(borrower, values[0])
        elif word == "leaving":
            borrower.wanted = 0

    def _recall_lost(self) -> None:
        """Take back from the workers what others have taken over, and forget it. What they return later goes, too."""
        if not self._leases.lost:
            return
        for borrower in self._ledger.borrowers.values():
            if any(job.receipt in self._leases.lost for job in borrower.jobs.values()):
                self._revoke(borrower)
        self._ledger.drop(self._leases.lost)

    def _hand_out(self) -> None:
        """Not what may be another's by now, because this process, or its claim, has slept for long."""
        if not self._ledger.loans or self._leases.overdue:
            return
        for borrower, jobs in self._ledger.deal():
            borrower.peer.send(("jobs", [tuple(job) for job in jobs]))
        let_others_run()  # before we ask for more: a lone task would wait for that

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
            loans = self._ledger.loans
            signed = [codec_of(self._codec, loan.receipt).sign(loan.body) for loan in loans]
            self._broker.give_back(
                [Delivery(loan.receipt, text, loan.attempt) for loan, text in zip(loans, signed, strict=True)]
            )
            loans.clear()
