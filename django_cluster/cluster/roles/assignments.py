"""What the pusher has lent, and to whom: plain bookkeeping, no socket and no clock of its own."""

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
    """Handed out and not yet settled, in the order of handing out."""
    unrecorded_receipts: dict[int, str] = field(default_factory=dict)
    """Receipts of what it had done before this pusher came: renewed until settled."""
    revoked: int = 0
    """Everything up to this number that was not begun has been taken back."""

    def waiting(self, begun: int) -> list[Job]:
        """Jobs it has not begun."""
        return [job for number, job in self.jobs.items() if number > begun]


class Assignments:
    """Workers, their jobs, and the unassigned that nobody has asked for."""

    def __init__(self, incarnation_number: int) -> None:
        # A successor has a larger incarnation number, so job numbers grow over the lives of pushers.
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
        """Jobs that are leased and not settled."""
        return len(self.unassigned) + sum(len(worker.jobs) for worker in self.workers.values())

    def receipts(self) -> list[str]:
        """Everything whose lease has to be kept alive here."""
        held = [message.receipt for message in self.unassigned]
        for worker in self.workers.values():
            held += [job.receipt for job in worker.jobs.values()]
            held += worker.unrecorded_receipts.values()
        return held

    def assign(self) -> list[tuple[WorkerConnection, list[Job]]]:
        """Give the unassigned to those who want them: idle workers first, and evenly."""
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
        """Take back jobs that were not started: they are assigned before any new one."""
        jobs = [job for number in numbers if (job := worker.jobs.pop(number, None)) is not None]
        self.requeue_first(jobs)

    def requeue_first(self, jobs: Sequence[Job]) -> None:
        self.unassigned.extendleft(
            LeasedMessage(job.body, job.receipt, job.attempt, job.queue) for job in reversed(jobs)
        )

    def drop(self, receipts: Iterable[str]) -> int:
        """Forget unassigned whose lease was lost: they belong to somebody else now. Returns how many there were."""
        lost, before = set(receipts), len(self.unassigned)
        self.unassigned = deque(message for message in self.unassigned if message.receipt not in lost)
        return before - len(self.unassigned)
