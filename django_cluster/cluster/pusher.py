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
from django_cluster.cluster.ledger import Borrower, Ledger, Loan
from django_cluster.cluster.obituary import death_of, obituaries
from django_cluster.cluster.outage import Outage
from django_cluster.cluster.scoreboard import REVOKED, STATE, Cause, Row, Scoreboard, State
from django_cluster.cluster.seat import Orders, Seat
from django_cluster.cluster.wire import Heard, Hub, Line, LineDown, Peer
from django_cluster.core.codec import Codec
from django_cluster.core.messages import Job, Outcome
from django_cluster.core.settings import BrokerSettings, CrewSettings
from django_cluster.errors import BadSignature, BrokerError, PackageError
from django_cluster.lifecycle.execute import rejected

logger = logging.getLogger("django_cluster")

PAUSE = 0.5
"""Seconds of the longest sleep between two looks around."""
BLOCK = 0.5
"""Seconds for which the broker may hold us while nothing else is to be done."""
FEW = 0.02
"""Seconds of sleep while an obituary waits for its exit code, or the monitor for us."""
EXIT_PATIENCE = 2.0
"""Seconds to wait for the sentinel's word on how a worker ended."""
SLOW = 0.1
"""Seconds after which jobs that wait behind a running one are taken back for an idle worker."""
STORE_FENCE = 0.001
"""Seconds until a word written by another processor has certainly become visible (it takes well below that)."""
PATIENCE_WITH_STRANGERS = 3
"""How often a message with a foreign signature is given back before it is put aside: it may be another's."""


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
        self._lease, self._poll = settings[0].lease, settings[0].poll
        self._bulk = min(settings[0].bulk, broker.capabilities.bulk)
        self._prefetch = settings[1].prefetch
        self._hub = Hub(seat.folder.jobs)
        self._hub.also_wake_for(orders.fileno())
        self._monitor = Line(seat.folder.reports)
        self._ledger = Ledger(seat.number)
        self._unfiled: dict[int, Outcome] = {}
        self._dead: list[tuple[Borrower, float]] = []
        self._outage = Outage("The broker", clock)
        self._renew_at = clock() + self._lease / 3
        self._look_at = 0.0
        self.stopping = False

    # ── the loop ─────────────────────────────────────────────────────────────────────────────────

    def run(self) -> None:
        """Until told to leave, and then until the last worker has left."""
        self._board.set(self._seat.row, STATE, State.IDLE)
        while not self.gone:
            self.tick()
        self._board.set(self._seat.row, STATE, State.LEAVING)
        self._monitor.close()
        self._hub.close()

    @property
    def gone(self) -> bool:
        busy = self._ledger.borrowers or self._dead or self._unfiled or self._ledger.loans
        return self.stopping and not busy

    def tick(self) -> None:
        """One turn: hear the workers, account for the dead, keep leases, hand out."""
        for heard in self._hub.poll(self._pause()):
            self._hear(heard)
        self._talk_to_monitor()
        self._bury()
        if self._orders.leave and not self.stopping:
            self._stop()
        if self._orders.orphaned:
            self._end_running()
        if self._outage.due:
            self._with_broker()

    def _pause(self) -> float:
        now = self._clock()
        if self._ledger.loans and self._ledger.wanted:
            return 0.0
        if self._dead or (self._unfiled and not self._monitor.connected):
            return FEW
        until = [now + PAUSE, self._renew_at]
        if self._capacity and not self.stopping:
            until.append(max(self._look_at, self._outage.retry_at))
        return max(0.0, min(until) - now)

    @property
    def _capacity(self) -> int:
        """How many more messages there is room for."""
        return max(0, self._ledger.wanted + self._prefetch - len(self._ledger.loans))

    def _with_broker(self) -> None:
        """Everything that needs the broker; when it is away, everything waits."""
        try:
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
            elif borrower := self._ledger.borrowers.get(heard.peer):
                self._answer(borrower, word, values)
        if heard.ended and (gone := self._ledger.borrowers.pop(heard.peer, None)):
            self._dead.append((gone, self._clock() + EXIT_PATIENCE))

    def _admit(self, peer: Peer, seat: int, row: int, waiting: list[Any], held: list[Any]) -> None:
        self._dead = [(gone, patience) for gone, patience in self._dead if gone.seat != seat]  # only its line broke
        borrower = Borrower(peer, seat, row)
        borrower.jobs = {job.number: job for job in (Job(*each) for each in waiting)}
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

    # ── the dead ─────────────────────────────────────────────────────────────────────────────────

    def _bury(self) -> None:
        """Account for workers whose line has ended, once the sentinel has said how they ended."""
        still = []
        for borrower, patience in self._dead:
            row: Row | None = self._board.read(borrower.row)
            if row is not None and row.seat != borrower.seat:
                row = None
            if row is not None and row.exit is None and self._clock() < patience and not self._orders.orphaned:
                still.append((borrower, patience))
                continue
            self._account(borrower, row)
        self._dead = still

    def _account(self, borrower: Borrower, row: Row | None) -> None:
        """Give on what was not begun, give back what the stop has interrupted, and report the rest."""
        death = death_of(row, self._seat.folder.path, borrower.seat)
        begun = row.begun if row is not None else max(borrower.jobs, default=0)
        self._ledger.take_back(borrower, [job.number for job in borrower.waiting(begun)])
        ended = list(borrower.jobs.values())
        if row is not None and row.cause is Cause.SHUTDOWN:
            interrupted = [job for job in ended if job.number == row.running]
            self._ledger.take_back(borrower, [job.number for job in interrupted])
            ended = list(borrower.jobs.values())
        if ended:
            worker = f"worker {row.pid}" if row is not None else "worker"
            outcomes = obituaries(ended, death, self._codec, worker)
            self._report("obituary", borrower.seat, outcomes)

    # ── the monitor ──────────────────────────────────────────────────────────────────────────────

    def _report(self, word: str, seat: int, outcomes: Sequence[Outcome]) -> None:
        """Tell the monitor; kept until filed, and told again to its successor."""
        self._unfiled.update({outcome.number: outcome for outcome in outcomes})
        with suppress(LineDown):  # it will be said again after the next "hello"
            self._monitor.send((word, seat, [tuple(outcome) for outcome in outcomes]))

    def _introduce(self) -> None:
        """A monitor stays as long as we are on its line; a new one is told what the old one did not file."""
        with suppress(LineDown):
            self._monitor.send(("hello", self._seat.number))
        if self._unfiled:
            self._report("obituary", 0, list(self._unfiled.values()))

    def _talk_to_monitor(self) -> None:
        if not self._monitor.connected and self._monitor.connect():
            self._introduce()
        for word, *values in self._monitor.receive():
            if word == "filed":
                for number in values[0]:
                    self._unfiled.pop(number, None)

    # ── the broker ───────────────────────────────────────────────────────────────────────────────

    def _fetch(self) -> None:
        room = min(self._capacity, self._bulk)
        now = self._clock()
        if not room or now < self._look_at:
            return
        calm = not self._dead and not self._ledger.loans and not self._unfiled
        blocking = self._broker.capabilities.blocking and calm
        deliveries = self._broker.lease(room, min(BLOCK, self._lease / 6) if blocking else 0.0)
        self._accept(deliveries)
        if not deliveries and not blocking:
            self._look_at = self._clock() + self._poll

    def _accept(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            try:
                body = self._codec.verify(delivery.payload)
            except PackageError as error:
                self._refuse(delivery, error)
            else:
                self._ledger.loans.append(Loan(body, delivery.receipt, delivery.attempt))

    def _refuse(self, delivery: Delivery, error: PackageError) -> None:
        """A message that is not ours: give it back for its owner to find, and put it aside in the end."""
        if isinstance(error, BadSignature) and delivery.attempt < PATIENCE_WITH_STRANGERS:
            self._broker.release([delivery.receipt], self._lease)
            return
        logger.error("A message that cannot be read was put aside: %s", error)
        number = self._ledger.new_number()
        aside = rejected(number, delivery.receipt, delivery.attempt, delivery.payload, error, time.time(), "pusher")
        self._report("outcomes", self._seat.number, [aside])

    def _keep_leases(self) -> None:
        now = self._clock()
        if now < self._renew_at:
            return
        self._renew_at = now + self._lease / 3
        receipts = self._ledger.receipts()
        receipts += [job.receipt for borrower, _ in self._dead for job in borrower.jobs.values()]
        receipts += [outcome.receipt for outcome in self._unfiled.values()]
        # A lost lease of a job that is done is no news: it was acknowledged, and we have not heard *filed* yet.
        if receipts and (lost := self._ledger.drop(self._broker.renew(receipts))):
            logger.warning("The lease of %d waiting messages was lost; others will run them.", lost)

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
        if self._ledger.loans:
            self._broker.release([loan.receipt for loan in self._ledger.loans], begun=False)
            self._ledger.loans.clear()
