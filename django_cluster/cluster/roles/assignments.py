"""Which worker has which leased messages. Pure bookkeeping, without a socket and a clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from django_cluster.cluster.ipc.server import ClientConnection
from django_cluster.core.messages import Job
from django_cluster.core.reprs import repr_of


class LeasedMessage(NamedTuple):
    """A verified message that is leased and has no worker yet."""

    body: bytes
    receipt: str
    attempt: int
    queue: str = ""
    again: bool = False
    """See ``Job.again``."""

    def __repr__(self) -> str:
        return repr_of(self, "receipt", "attempt", "queue")


@dataclass(eq=False)
class WorkerConnection:
    """One worker, as the pusher knows it."""

    connection: ClientConnection
    incarnation: int
    row: int
    wanted: int = 0
    jobs: dict[int, Job] = field(default_factory=dict)
    """Jobs that were assigned and are not recorded, by number, in the order of assignment."""
    unrecorded_receipts: dict[int, str] = field(default_factory=dict)
    """Receipts of jobs that it had finished before this pusher started: renewed until they are recorded."""
    revoked: int = 0
    """All jobs up to this number that were not begun have been taken back."""

    def waiting(self, begun: int) -> list[Job]:
        """Its jobs after number ``begun``."""
        return [job for number, job in self.jobs.items() if number > begun]


class Assignments:
    """The workers, their jobs, and the leased messages that are unassigned."""

    def __init__(self, incarnation_number: int) -> None:
        # A later pusher has a larger incarnation number, so job numbers grow over all pushers.
        self._next = (incarnation_number << 32) + 1
        self.workers: dict[ClientConnection, WorkerConnection] = {}
        self.unassigned: deque[LeasedMessage] = deque()

    def new_number(self) -> int:
        self._next += 1
        return self._next

    def add_worker(self, worker: WorkerConnection) -> None:
        self.workers[worker.connection] = worker

    @property
    def wanted(self) -> int:
        return sum(worker.wanted for worker in self.workers.values())

    @property
    def in_flight(self) -> int:
        """How many messages are leased and not recorded."""
        return len(self.unassigned) + sum(len(worker.jobs) for worker in self.workers.values())

    def receipts(self) -> list[str]:
        """The receipts of all leases that have to be renewed."""
        held = [message.receipt for message in self.unassigned]
        for worker in self.workers.values():
            held += [job.receipt for job in worker.jobs.values()]
            held += worker.unrecorded_receipts.values()
        return held

    def assign(self) -> list[tuple[WorkerConnection, list[Job]]]:
        """Assign messages to the workers that have requested jobs, evenly, to idle workers first."""
        batches: list[tuple[WorkerConnection, list[Job]]] = []
        requesting = sorted((b for b in self.workers.values() if b.wanted), key=lambda b: len(b.jobs))
        for left, worker in zip(range(len(requesting), 0, -1), requesting, strict=True):
            share = min(worker.wanted, -(-len(self.unassigned) // left))
            if share:
                batches.append((worker, [self._assign_next(worker) for _ in range(share)]))
        return batches

    def _assign_next(self, worker: WorkerConnection) -> Job:
        message = self.unassigned.popleft()
        job = Job(self.new_number(), *message)
        worker.jobs[job.number] = job
        worker.wanted -= 1
        return job

    def mark_recorded(self, worker: WorkerConnection, numbers: Iterable[int]) -> None:
        for number in numbers:
            if worker.jobs.pop(number, None) is None:
                worker.unrecorded_receipts.pop(number, None)

    def take_back(self, worker: WorkerConnection, numbers: Iterable[int]) -> None:
        """Take back jobs that were not begun; they are assigned again before anything new."""
        jobs = [job for number in numbers if (job := worker.jobs.pop(number, None)) is not None]
        self.requeue_first(jobs)

    def requeue_first(self, jobs: Sequence[Job]) -> None:
        self.unassigned.extendleft(
            LeasedMessage(job.body, job.receipt, job.attempt, job.queue, again=True) for job in reversed(jobs)
        )

    def drop(self, receipts: Iterable[str]) -> int:
        """Forget unassigned messages whose lease was lost to another cluster. Returns how many there were."""
        lost, before = set(receipts), len(self.unassigned)
        self.unassigned = deque(message for message in self.unassigned if message.receipt not in lost)
        return before - len(self.unassigned)
