"""The pusher's books: every message is in exactly one place, and nothing is invented or forgotten."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from django_cluster.cluster.ipc.channel import Channel
from django_cluster.cluster.ipc.server import ClientConnection
from django_cluster.cluster.roles.assignments import Assignments, LeasedMessage, WorkerConnection
from django_cluster.core.messages import Job
from tests.examples import examples


def new_worker(assignments: Assignments, wanted: int = 0, incarnation: int = 1) -> WorkerConnection:
    """A worker that has called. Nothing is said on its line, which is closed again at once."""
    ours, theirs = socket.socketpair()
    new = WorkerConnection(ClientConnection(Channel(ours)), incarnation, incarnation, wanted)
    ours.close()
    theirs.close()
    assignments.add_worker(new)
    return new


def with_loans(count: int, incarnation: int = 1) -> Assignments:
    assignments = Assignments(incarnation)
    assignments.unassigned.extend(LeasedMessage(b"body", f"r{number}", 1) for number in range(count))
    return assignments


def receipts_of(jobs: Sequence[Job | LeasedMessage]) -> list[str]:
    return [job.receipt for job in jobs]


def test_loans_are_dealt_evenly() -> None:
    assignments = with_loans(10)
    workers = [new_worker(assignments, wanted=100) for _ in range(3)]

    assignments.assign()

    assert sorted(len(worker.jobs) for worker in workers) == [3, 3, 4]


def test_who_has_nothing_to_do_comes_first() -> None:
    assignments = with_loans(4)
    busy, idle = new_worker(assignments, wanted=3), new_worker(assignments)
    assignments.assign()
    assignments.unassigned.append(LeasedMessage(b"body", "the next", 1))
    busy.wanted = idle.wanted = 1
    assignments.unassigned.popleft()

    ((lucky, jobs),) = assignments.assign()

    assert lucky is idle
    assert receipts_of(jobs) == ["the next"]


def test_nobody_gets_more_than_he_wants_and_what_is_left_stays_in_order() -> None:
    assignments = with_loans(6)
    new_worker(assignments, wanted=1)
    new_worker(assignments, wanted=2)

    batches = assignments.assign()

    assert sorted(len(jobs) for _, jobs in batches) == [1, 2]
    assert receipts_of(list(assignments.unassigned)) == ["r3", "r4", "r5"]
    assert assignments.wanted == 0


def test_what_one_does_not_want_goes_to_the_others() -> None:
    assignments = with_loans(10)
    new_worker(assignments, wanted=1)
    greedy = new_worker(assignments, wanted=100)

    assignments.assign()

    assert len(greedy.jobs) == 9


def test_what_was_not_begun_goes_back_to_the_front_in_its_order() -> None:
    assignments = with_loans(5)
    worker = new_worker(assignments, wanted=3)
    assignments.assign()

    assignments.take_back(worker, list(worker.jobs))

    assert receipts_of(list(assignments.unassigned)) == ["r0", "r1", "r2", "r3", "r4"]
    assert worker.jobs == {}


def test_what_is_taken_back_twice_comes_back_once() -> None:
    assignments = with_loans(2)
    worker = new_worker(assignments, wanted=2)
    assignments.assign()
    numbers = list(worker.jobs)

    assignments.take_back(worker, numbers)
    assignments.take_back(worker, numbers)

    assert receipts_of(list(assignments.unassigned)) == ["r0", "r1"]


def test_a_job_keeps_its_attempt_through_every_hand() -> None:
    assignments = Assignments(1)
    assignments.unassigned.append(LeasedMessage(b"body", "r", 7))
    worker = new_worker(assignments, wanted=1)

    ((_, (job,)),) = assignments.assign()
    assignments.take_back(worker, [job.number])

    assert job == Job(job.number, b"body", "r", 7)
    assert list(assignments.unassigned) == [LeasedMessage(b"body", "r", 7, again=True)]


def test_jobs_that_were_not_begun_are_those_after_the_last_begun() -> None:
    assignments = with_loans(3)
    worker = new_worker(assignments, wanted=3)
    assignments.assign()
    first, second, third = worker.jobs.values()

    assert worker.waiting(0) == [first, second, third]
    assert worker.waiting(second.number) == [third]
    assert worker.waiting(third.number) == []


def test_the_numbers_of_a_successor_are_larger() -> None:
    old, new = Assignments(4), Assignments(5)

    last = max(old.new_number() for _ in range(1000))

    assert new.new_number() > last


def test_what_a_worker_had_done_before_we_came_is_kept_alive_until_it_is_settled() -> None:
    assignments = Assignments(1)
    worker = new_worker(assignments)
    worker.unrecorded_receipts = {3: "old"}

    held = assignments.receipts()
    assignments.mark_recorded(worker, [3])

    assert held == ["old"]
    assert assignments.receipts() == []


def test_only_waiting_loans_are_dropped_when_leases_are_lost() -> None:
    assignments = with_loans(3)
    worker = new_worker(assignments, wanted=1)
    assignments.assign()

    dropped = assignments.drop(["r0", "r1", "unknown"])

    assert dropped == 1
    assert receipts_of(list(assignments.unassigned)) == ["r2"]
    assert receipts_of(list(worker.jobs.values())) == ["r0"]


class Books(RuleBasedStateMachine):
    """Whatever happens in whatever order, each receipt is in one place, or was settled or dropped."""

    workers = Bundle("workers")

    def __init__(self) -> None:
        super().__init__()
        self.assignments = Assignments(1)
        self.leased = 0
        self.finished: set[str] = set()
        self.numbers: list[int] = []

    @rule(target=workers, wanted=st.integers(0, 5))
    def a_worker_calls(self, wanted: int) -> WorkerConnection:
        return new_worker(self.assignments, wanted)

    @rule(count=st.integers(1, 5))
    def more_is_leased(self, count: int) -> None:
        for _ in range(count):
            self.leased += 1
            self.assignments.unassigned.append(LeasedMessage(b"", f"r{self.leased}", 1))

    @rule(worker=workers, more=st.integers(1, 5))
    def a_worker_asks(self, worker: WorkerConnection, more: int) -> None:
        worker.wanted += more

    @rule()
    def the_loans_are_dealt(self) -> None:
        """To be even, one round may leave something for the next; but it never comes to a standstill."""
        due = min(self.assignments.wanted, len(self.assignments.unassigned))
        while dealt := [job.number for _, jobs in self.assignments.assign() for job in jobs]:
            self.numbers += dealt
            due -= len(dealt)
        assert due == 0

    @rule(worker=workers, data=st.data())
    def some_are_settled(self, worker: WorkerConnection, data: st.DataObject) -> None:
        done = data.draw(st.sets(st.sampled_from(sorted(worker.jobs)))) if worker.jobs else set()
        self.finished |= {worker.jobs[number].receipt for number in done}
        self.assignments.mark_recorded(worker, [*done, 0])

    @rule(worker=workers, data=st.data())
    def some_are_taken_back(self, worker: WorkerConnection, data: st.DataObject) -> None:
        back = data.draw(st.sets(st.sampled_from(sorted(worker.jobs)))) if worker.jobs else set()
        self.assignments.take_back(worker, sorted(back))

    @rule(worker=consumes(workers))
    def a_worker_dies(self, worker: WorkerConnection) -> None:
        self.assignments.workers.pop(worker.connection)
        self.assignments.take_back(worker, list(worker.jobs))

    @precondition(lambda self: self.assignments.unassigned)
    @rule(data=st.data())
    def a_lease_is_lost(self, data: st.DataObject) -> None:
        lost = data.draw(st.sampled_from(receipts_of(list(self.assignments.unassigned))))
        self.assignments.drop([lost])
        self.finished.add(lost)

    @invariant()
    def every_receipt_is_in_exactly_one_place(self) -> None:
        held = self.assignments.receipts()
        assert len(held) == len(set(held))
        assert not self.finished.intersection(held)
        assert {*held, *self.finished} == {f"r{number}" for number in range(1, self.leased + 1)}

    @invariant()
    def nobody_wants_less_than_nothing(self) -> None:
        assert all(each.wanted >= 0 for each in self.assignments.workers.values())

    @invariant()
    def numbers_grow(self) -> None:
        assert self.numbers == sorted(set(self.numbers))


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=examples(100), stateful_step_count=30, deadline=None)
