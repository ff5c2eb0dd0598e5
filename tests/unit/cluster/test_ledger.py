"""The pusher's books: every loan is in exactly one place, and nothing is invented or forgotten."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from django_cluster.cluster.channel import Channel
from django_cluster.cluster.ledger import Borrower, Ledger, Loan
from django_cluster.cluster.wire import Peer
from django_cluster.core.messages import Job
from tests.examples import examples


def borrower(ledger: Ledger, wanted: int = 0, seat: int = 1) -> Borrower:
    """A worker that has called. Nothing is said on its line, which is closed again at once."""
    ours, theirs = socket.socketpair()
    new = Borrower(Peer(Channel(ours)), seat, seat, wanted)
    ours.close()
    theirs.close()
    ledger.admit(new)
    return new


def with_loans(count: int, seat: int = 1) -> Ledger:
    ledger = Ledger(seat)
    ledger.loans.extend(Loan(b"body", f"r{number}", 1) for number in range(count))
    return ledger


def receipts_of(jobs: Sequence[Job | Loan]) -> list[str]:
    return [job.receipt for job in jobs]


def test_loans_are_dealt_evenly() -> None:
    ledger = with_loans(10)
    workers = [borrower(ledger, wanted=100) for _ in range(3)]

    ledger.deal()

    assert sorted(len(worker.jobs) for worker in workers) == [3, 3, 4]


def test_who_has_nothing_to_do_comes_first() -> None:
    ledger = with_loans(4)
    busy, idle = borrower(ledger, wanted=3), borrower(ledger)
    ledger.deal()
    ledger.loans.append(Loan(b"body", "the next", 1))
    busy.wanted = idle.wanted = 1
    ledger.loans.popleft()

    ((lucky, jobs),) = ledger.deal()

    assert lucky is idle
    assert receipts_of(jobs) == ["the next"]


def test_nobody_gets_more_than_he_wants_and_what_is_left_stays_in_order() -> None:
    ledger = with_loans(6)
    borrower(ledger, wanted=1)
    borrower(ledger, wanted=2)

    hands = ledger.deal()

    assert sorted(len(jobs) for _, jobs in hands) == [1, 2]
    assert receipts_of(list(ledger.loans)) == ["r3", "r4", "r5"]
    assert ledger.wanted == 0


def test_what_one_does_not_want_goes_to_the_others() -> None:
    ledger = with_loans(10)
    borrower(ledger, wanted=1)
    greedy = borrower(ledger, wanted=100)

    ledger.deal()

    assert len(greedy.jobs) == 9


def test_what_was_not_begun_goes_back_to_the_front_in_its_order() -> None:
    ledger = with_loans(5)
    worker = borrower(ledger, wanted=3)
    ledger.deal()

    ledger.take_back(worker, list(worker.jobs))

    assert receipts_of(list(ledger.loans)) == ["r0", "r1", "r2", "r3", "r4"]
    assert worker.jobs == {}


def test_what_is_taken_back_twice_comes_back_once() -> None:
    ledger = with_loans(2)
    worker = borrower(ledger, wanted=2)
    ledger.deal()
    numbers = list(worker.jobs)

    ledger.take_back(worker, numbers)
    ledger.take_back(worker, numbers)

    assert receipts_of(list(ledger.loans)) == ["r0", "r1"]


def test_a_job_keeps_its_attempt_through_every_hand() -> None:
    ledger = Ledger(1)
    ledger.loans.append(Loan(b"body", "r", 7))
    worker = borrower(ledger, wanted=1)

    ((_, (job,)),) = ledger.deal()
    ledger.take_back(worker, [job.number])

    assert job == Job(job.number, b"body", "r", 7)
    assert list(ledger.loans) == [Loan(b"body", "r", 7)]


def test_jobs_that_were_not_begun_are_those_after_the_last_begun() -> None:
    ledger = with_loans(3)
    worker = borrower(ledger, wanted=3)
    ledger.deal()
    first, second, third = worker.jobs.values()

    assert worker.waiting(0) == [first, second, third]
    assert worker.waiting(second.number) == [third]
    assert worker.waiting(third.number) == []


def test_the_numbers_of_a_successor_are_larger() -> None:
    old, new = Ledger(4), Ledger(5)

    last = max(old.new_number() for _ in range(1000))

    assert new.new_number() > last


def test_what_a_worker_had_done_before_we_came_is_kept_alive_until_it_is_settled() -> None:
    ledger = Ledger(1)
    worker = borrower(ledger)
    worker.kept = {3: "old"}

    held = ledger.receipts()
    ledger.settle(worker, [3])

    assert held == ["old"]
    assert ledger.receipts() == []


def test_only_waiting_loans_are_dropped_when_leases_are_lost() -> None:
    ledger = with_loans(3)
    worker = borrower(ledger, wanted=1)
    ledger.deal()

    dropped = ledger.drop(["r0", "r1", "unknown"])

    assert dropped == 1
    assert receipts_of(list(ledger.loans)) == ["r2"]
    assert receipts_of(list(worker.jobs.values())) == ["r0"]


class Books(RuleBasedStateMachine):
    """Whatever happens in whatever order, each receipt is in one place, or was settled or dropped."""

    workers = Bundle("workers")

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(1)
        self.leased = 0
        self.gone: set[str] = set()
        self.numbers: list[int] = []

    @rule(target=workers, wanted=st.integers(0, 5))
    def a_worker_calls(self, wanted: int) -> Borrower:
        return borrower(self.ledger, wanted)

    @rule(count=st.integers(1, 5))
    def more_is_leased(self, count: int) -> None:
        for _ in range(count):
            self.leased += 1
            self.ledger.loans.append(Loan(b"", f"r{self.leased}", 1))

    @rule(worker=workers, more=st.integers(1, 5))
    def a_worker_asks(self, worker: Borrower, more: int) -> None:
        worker.wanted += more

    @rule()
    def the_loans_are_dealt(self) -> None:
        """To be even, one round may leave something for the next; but it never comes to a standstill."""
        due = min(self.ledger.wanted, len(self.ledger.loans))
        while dealt := [job.number for _, jobs in self.ledger.deal() for job in jobs]:
            self.numbers += dealt
            due -= len(dealt)
        assert due == 0

    @rule(worker=workers, data=st.data())
    def some_are_settled(self, worker: Borrower, data: st.DataObject) -> None:
        done = data.draw(st.sets(st.sampled_from(sorted(worker.jobs)))) if worker.jobs else set()
        self.gone |= {worker.jobs[number].receipt for number in done}
        self.ledger.settle(worker, [*done, 0])

    @rule(worker=workers, data=st.data())
    def some_are_taken_back(self, worker: Borrower, data: st.DataObject) -> None:
        back = data.draw(st.sets(st.sampled_from(sorted(worker.jobs)))) if worker.jobs else set()
        self.ledger.take_back(worker, sorted(back))

    @rule(worker=consumes(workers))
    def a_worker_dies(self, worker: Borrower) -> None:
        self.ledger.borrowers.pop(worker.peer)
        self.ledger.take_back(worker, list(worker.jobs))

    @precondition(lambda self: self.ledger.loans)
    @rule(data=st.data())
    def a_lease_is_lost(self, data: st.DataObject) -> None:
        lost = data.draw(st.sampled_from(receipts_of(list(self.ledger.loans))))
        self.ledger.drop([lost])
        self.gone.add(lost)

    @invariant()
    def every_receipt_is_in_exactly_one_place(self) -> None:
        held = self.ledger.receipts()
        assert len(held) == len(set(held))
        assert not self.gone.intersection(held)
        assert {*held, *self.gone} == {f"r{number}" for number in range(1, self.leased + 1)}

    @invariant()
    def nobody_wants_less_than_nothing(self) -> None:
        assert all(each.wanted >= 0 for each in self.ledger.borrowers.values())

    @invariant()
    def numbers_grow(self) -> None:
        assert self.numbers == sorted(set(self.numbers))


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=examples(100), stateful_step_count=30, deadline=None)
