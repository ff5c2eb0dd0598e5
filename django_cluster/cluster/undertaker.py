"""The pusher's other half: accounts for the jobs of workers that died, and reports to the monitor.

What a dead worker had begun is reported, what it had not begun goes back to the ledger for others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from django_cluster.cluster.channel import LineDown
from django_cluster.cluster.host import is_alive
from django_cluster.cluster.ledger import Borrower, Ledger
from django_cluster.cluster.obituary import death_of, obituaries
from django_cluster.cluster.scoreboard import Cause, Row, Scoreboard
from django_cluster.cluster.seat import Orders, Seat, signature_of, who_sits
from django_cluster.cluster.wire import Line
from django_cluster.core.codec import Codec
from django_cluster.core.messages import Outcome

FAREWELL_PATIENCE = 5.0
"""Seconds for the monitor to file what it has, before a pusher leaves that it needs for that."""
EXIT_PATIENCE = 2.0
"""Seconds to wait for the sentinel's word on how a worker ended."""


class Undertaker:
    """``unfiled`` outcomes are kept until the monitor has filed them, and told again to its successor."""

    def __init__(
        self,
        seat: Seat,
        board: Scoreboard,
        orders: Orders,
        codec: Codec,
        ledger: Ledger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seat, self._board, self._orders = seat, board, orders
        self._codec, self._ledger, self._clock = codec, ledger, clock
        self._monitor = Line(seat.folder.reports)
        self._dead: list[tuple[Borrower, float]] = []
        self._unfiled: dict[int, tuple[str, int, Outcome]] = {}
        self._leaving_until = 0.0
        self._farewell = False

    @property
    def busy(self) -> bool:
        return bool(self._dead or self._unfiled)

    @property
    def forsaken(self) -> bool:
        """Whether nobody will ever file what is held here: the sentinel is dead, and so is the monitor."""
        return self._orders.orphaned and not self._dead and not self._monitor.connected

    def give_back(self) -> list[str]:
        """The receipts of what cannot be reported; the runs have been counted."""
        receipts = [outcome.receipt for _, _, outcome in self._unfiled.values()]
        self._unfiled.clear()
        return receipts

    @property
    def waiting(self) -> bool:
        """Whether something is expected that wakes nobody: an exit code, or a monitor that listens."""
        return bool(self._dead or (self._unfiled and not self._monitor.connected))

    def receipts(self) -> list[str]:
        """Everything whose lease has to be kept alive here."""
        held = [job.receipt for borrower, _ in self._dead for job in borrower.jobs.values()]
        return held + [outcome.receipt for _, _, outcome in self._unfiled.values()]

    def close(self) -> None:
        self._monitor.close()

    def take_leave(self) -> None:
        """Ask the monitor whether it still needs us; see ``dismissed``."""
        if not self._leaving_until:
            self._leaving_until = self._clock() + FAREWELL_PATIENCE
            with suppress(LineDown):
                self._monitor.send(("leaving",))

    @property
    def dismissed(self) -> bool:
        """Whether the monitor has said farewell, is gone, or takes too long."""
        if not self._leaving_until:
            return False
        return self._farewell or not self._monitor.connected or self.out_of_patience

    @property
    def out_of_patience(self) -> bool:
        """Whether it is long ago that we have asked for leave."""
        return 0.0 < self._leaving_until <= self._clock()

    # ── the dead ─────────────────────────────────────────────────────────────────────────────────

    def take(self, borrower: Borrower) -> None:
        """The line of this worker has ended."""
        self._dead.append((borrower, self._clock() + EXIT_PATIENCE))

    def give_up(self, seat: int) -> None:
        """This worker has called again: only its line had broken."""
        self._dead = [(borrower, until) for borrower, until in self._dead if borrower.seat != seat]

    def work(self) -> None:
        """One turn: hear the monitor, and account for those of whom it is known how they ended."""
        self._talk()
        still = []
        for borrower, until in self._dead:
            row = self._row_of(borrower)
            if row is not None and row.exit is None and self._may_still_speak(row, until):
                still.append((borrower, until))
            else:
                self._account(borrower, row)
        self._dead = still

    def _may_still_speak(self, row: Row, until: float) -> bool:
        """The sentinel has not said how it ended; perhaps only its line has, and it is busy."""
        return not self._orders.orphaned and (self._clock() < until or is_alive(row.pid))

    def _row_of(self, borrower: Borrower) -> Row | None:
        """What it last wrote; None if another life has its row by now."""
        row = self._board.read(borrower.row)
        return row if row.seat == borrower.seat else None

    def _account(self, borrower: Borrower, row: Row | None) -> None:
        """Give on what was not begun, give back what the stop has interrupted, and report the rest."""
        death = death_of(row, self._seat.folder.path, borrower.seat)
        begun = row.begun if row is not None else max(borrower.jobs, default=0)
        free = [job.number for job in borrower.waiting(begun)]
        if row is not None and row.cause is Cause.SHUTDOWN and row.running:
            free.append(row.running)
        self._ledger.take_back(borrower, free)
        if borrower.jobs:
            worker = signature_of(*who_sits(row.post), row.pid) if row is not None else "worker"
            jobs = list(borrower.jobs.values())
            self.report("obituary", borrower.seat, obituaries(jobs, death, self._codec, worker))

    # ── the monitor ──────────────────────────────────────────────────────────────────────────────

    def report(self, word: str, seat: int, outcomes: Sequence[Outcome]) -> None:
        """``word``: ``obituary``, about the worker of that seat, or ``outcomes``, our own."""
        self._unfiled.update({outcome.number: (word, seat, outcome) for outcome in outcomes})
        with suppress(LineDown):  # it will be said again after the next "hello"
            self._monitor.send((word, seat, [tuple(outcome) for outcome in outcomes]))

    def _talk(self) -> None:
        if not self._monitor.connected and self._monitor.connect():
            self._introduce()
        for word, *values in self._monitor.receive():
            if word == "filed":
                for number in values[0]:
                    self._unfiled.pop(number, None)
            elif word == "farewell":
                self._farewell = True

    def _introduce(self) -> None:
        """A monitor stays as long as we are on its line; a new one is told what the old one did not file."""
        with suppress(LineDown):
            self._monitor.send(("hello", self._seat.number))
        for word, seat, outcome in list(self._unfiled.values()):
            self.report(word, seat, [outcome])
