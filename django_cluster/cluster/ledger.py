"""What the pusher has lent, and to whom: plain bookkeeping, no socket and no clock of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from django_cluster.cluster.wire import Peer
from django_cluster.core.messages import Job
from django_cluster.core.reprs import only


class Loan(NamedTuple):
    """A verified message that is leased and has no worker yet."""

    body: bytes
    receipt: str
    attempt: int

    def __repr__(self) -> str:
        return only(self, "receipt", "attempt")


@dataclass(eq=False)
class Borrower:
    """One worker, as the pusher knows it."""

    peer: Peer
    seat: int
    row: int
    wanted: int = 0
    jobs: dict[int, Job] = field(default_factory=dict)
    """Handed out and not yet settled, in the order of handing out."""
    kept: dict[int, str] = field(default_factory=dict)
    """Receipts of what it had done before this pusher came: renewed until settled."""
    revoked: int = 0
    """Everything up to this number that was not begun has been taken back."""

    def waiting(self, begun: int) -> list[Job]:
        """Jobs it has not begun."""
        return [job for number, job in self.jobs.items() if number > begun]


class Ledger:
    """Borrowers, their jobs, and the loans that nobody has asked for."""

    def __init__(self, seat_number: int) -> None:
        # A successor has a larger seat number, so job numbers grow over the lives of pushers.
        self._next = (seat_number << 32) + 1
        self.borrowers: dict[Peer, Borrower] = {}
        self.loans: deque[Loan] = deque()

    def new_number(self) -> int:
        self._next += 1
        return self._next

    def admit(self, borrower: Borrower) -> None:
        self.borrowers[borrower.peer] = borrower

    @property
    def wanted(self) -> int:
        return sum(borrower.wanted for borrower in self.borrowers.values())

    @property
    def held(self) -> int:
        """Jobs that are leased and not settled."""
        return len(self.loans) + sum(len(borrower.jobs) for borrower in self.borrowers.values())

    def receipts(self) -> list[str]:
        """Everything whose lease has to be kept alive here."""
        held = [loan.receipt for loan in self.loans]
        for borrower in self.borrowers.values():
            held += [job.receipt for job in borrower.jobs.values()]
            held += borrower.kept.values()
        return held

    def deal(self) -> list[tuple[Borrower, list[Job]]]:
        """Give the loans to those who want them: idle workers first, and evenly."""
        hands: list[tuple[Borrower, list[Job]]] = []
        eager = sorted((b for b in self.borrowers.values() if b.wanted), key=lambda b: len(b.jobs))
        for left, borrower in zip(range(len(eager), 0, -1), eager, strict=True):
            share = min(borrower.wanted, -(-len(self.loans) // left))
            if share:
                hands.append((borrower, [self._lend(borrower) for _ in range(share)]))
        return hands

    def _lend(self, borrower: Borrower) -> Job:
        loan = self.loans.popleft()
        job = Job(self.new_number(), *loan)
        borrower.jobs[job.number] = job
        borrower.wanted -= 1
        return job

    def settle(self, borrower: Borrower, numbers: Iterable[int]) -> None:
        for number in numbers:
            if borrower.jobs.pop(number, None) is None:
                borrower.kept.pop(number, None)

    def take_back(self, borrower: Borrower, numbers: Iterable[int]) -> None:
        """These were not begun: they go to the next who asks, before anything new."""
        jobs = [job for number in numbers if (job := borrower.jobs.pop(number, None)) is not None]
        self.put_first(jobs)

    def put_first(self, jobs: Sequence[Job]) -> None:
        self.loans.extendleft(Loan(job.body, job.receipt, job.attempt) for job in reversed(jobs))

    def drop(self, receipts: Iterable[str]) -> int:
        """Forget loans whose lease was lost: they belong to somebody else now. Returns how many there were."""
        lost, before = set(receipts), len(self.loans)
        self.loans = deque(loan for loan in self.loans if loan.receipt not in lost)
        return before - len(self.loans)
