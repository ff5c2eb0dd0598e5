"""Accounts for the jobs of workers that died, and reports outcomes of the pusher to the monitor.

What a dead worker had begun is reported as lost; what it had not begun is assigned to other workers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from django_cluster.cluster.bootstrap.host import is_alive
from django_cluster.cluster.ipc.channel import ConnectionLost
from django_cluster.cluster.ipc.client import IpcClient
from django_cluster.cluster.ipc.control_pipe import ControlPipe
from django_cluster.cluster.ipc.incarnation import Incarnation, decode_role, process_signature
from django_cluster.cluster.ipc.process_row import Cause, ScoreboardRow
from django_cluster.cluster.ipc.protocol import Goodbye, Hello, Outcomes, Recorded, Stopping, WorkerLost
from django_cluster.cluster.ipc.running_jobs import RunningJobsReader
from django_cluster.cluster.ipc.scoreboard import Scoreboard
from django_cluster.cluster.roles.assignments import Assignments, WorkerConnection
from django_cluster.cluster.roles.worker_exit import lost_outcomes, read_worker_exit
from django_cluster.core.codec import Codec
from django_cluster.core.correlation import correlation_of
from django_cluster.core.events.tasks import RUN_INTERRUPTED
from django_cluster.core.messages import Outcome
from django_cluster.core.post_mortem import HostFacts
from django_cluster.errors import PackageError

GOODBYE_SECONDS = 5.0
"""Seconds for the monitor to record what it has, before a pusher exits that it needs for acknowledgements."""
EXIT_CODE_SECONDS = 2.0
"""Seconds to wait until the sentinel has written how a worker exited."""


class WorkerLossReporter:
    """Keeps its outcomes until the monitor has recorded them, and sends them again to a new monitor."""

    def __init__(
        self,
        incarnation: Incarnation,
        board: Scoreboard,
        control: ControlPipe,
        codec: Codec,
        assignments: Assignments,
        clock: Callable[[], float] = time.monotonic,
        environment: HostFacts | None = None,
        running_jobs: RunningJobsReader | None = None,
    ) -> None:
        """``environment``: where the runs take place; None: losses are not explained."""
        self._environment = environment
        self._incarnation, self._board, self._control = incarnation, board, control
        self._codec, self._assignments, self._clock = codec, assignments, clock
        self._running_jobs = running_jobs or RunningJobsReader(incarnation.runtime_dir.path)
        self._monitor = IpcClient(incarnation.runtime_dir.monitor_socket)
        self._lost: list[tuple[WorkerConnection, float]] = []
        self._unrecorded: dict[int, tuple[int | None, Outcome]] = {}
        self._goodbye_until = 0.0
        self._goodbye_received = False

    @property
    def busy(self) -> bool:
        return bool(self._lost or self._unrecorded)

    @property
    def abandoned(self) -> bool:
        """Whether what is kept here will never be recorded: the sentinel is dead, and so is the monitor."""
        return self._control.orphaned and not self._lost and not self._monitor.connected

    def take_receipts(self) -> list[str]:
        """The receipts of all unreported outcomes, which are forgotten here; their runs have been counted."""
        receipts = [outcome.receipt for _, outcome in self._unrecorded.values()]
        self._unrecorded.clear()
        return receipts

    @property
    def waiting(self) -> bool:
        """Whether something is awaited that wakes no descriptor: an exit code, or a monitor that listens."""
        return bool(self._lost or (self._unrecorded and not self._monitor.connected))

    def receipts(self) -> list[str]:
        """The receipts of all leases that have to be renewed."""
        held = [job.receipt for worker, _ in self._lost for job in worker.jobs.values()]
        return held + [outcome.receipt for _, outcome in self._unrecorded.values()]

    def close(self) -> None:
        self._monitor.close()

    def request_goodbye(self) -> None:
        """Ask the monitor whether it still needs the pusher; see ``may_exit``."""
        if not self._goodbye_until:
            self._goodbye_until = self._clock() + GOODBYE_SECONDS
            with suppress(ConnectionLost):
                self._monitor.send(Stopping())

    @property
    def may_exit(self) -> bool:
        """Whether the monitor has sent ``Goodbye``, is gone, or takes too long."""
        if not self._goodbye_until:
            return False
        return self._goodbye_received or not self._monitor.connected or self.goodbye_overdue

    @property
    def goodbye_overdue(self) -> bool:
        """Whether ``Goodbye`` was requested more than ``GOODBYE_SECONDS`` ago."""
        return 0.0 < self._goodbye_until <= self._clock()

    # ── the dead ─────────────────────────────────────────────────────────────────────────────────

    def add(self, worker: WorkerConnection) -> None:
        """The connection of this worker has ended."""
        self._lost.append((worker, self._clock() + EXIT_CODE_SECONDS))

    def forget(self, incarnation: int) -> None:
        """The worker of this incarnation has connected again: only its connection was lost."""
        self._lost = [(worker, until) for worker, until in self._lost if worker.incarnation != incarnation]

    def tick(self) -> None:
        """One turn: receive messages, and account for the workers whose exit is known."""
        self._receive()
        still = []
        for worker, until in self._lost:
            row = self._row_of(worker)
            if row is not None and row.exit_code is None and self._may_be_alive(row, until):
                still.append((worker, until))
            else:
                self._account_for(worker, row)
        self._lost = still

    def _may_be_alive(self, row: ScoreboardRow, until: float) -> bool:
        """Whether the sentinel has not written its exit: perhaps only the connection ended, and the worker is busy."""
        return not self._control.orphaned and (self._clock() < until or is_alive(row.pid))

    def _row_of(self, worker: WorkerConnection) -> ScoreboardRow | None:
        """What the worker wrote last; None if another incarnation has its row by now."""
        row = self._board.read(worker.row)
        return row if row.incarnation == worker.incarnation else None

    def _account_for(self, worker: WorkerConnection, row: ScoreboardRow | None) -> None:
        """Reassign what was not begun and what a stop has interrupted, and report the rest."""
        concurrent, path = self._running_jobs.read(row), self._incarnation.runtime_dir.path
        worker_exit = read_worker_exit(row, path, worker.incarnation, self._environment, concurrent)
        self._running_jobs.forget(worker.incarnation, remove=True)
        begun = row.begun if row is not None else max(worker.jobs, default=0)
        free = [job.number for job in worker.waiting(begun)]
        free += sorted(worker_exit.unblamed)
        if row is not None and row.cause is not Cause.SHUTDOWN:  # a stop has its own event
            self._log_interrupted(worker, worker_exit.unblamed)
        self._assignments.take_back(worker, free)
        if worker.jobs:
            signature = process_signature(*decode_role(row.role_code), row.pid) if row is not None else "worker"
            jobs = list(worker.jobs.values())
            self.report_lost(worker.incarnation, lost_outcomes(jobs, worker_exit, self._codec, signature))

    def _log_interrupted(self, worker: WorkerConnection, numbers: Collection[int]) -> None:
        for number in numbers:
            job = worker.jobs.get(number)
            if job is not None:
                with suppress(PackageError):
                    header, _ = self._codec.for_queue(job.queue or self._codec.queue).split(job.body)
                    RUN_INTERRUPTED.log(
                        task_id=header.id,
                        task_name=header.name,
                        function=header.func,
                        attempt=job.attempt,
                        correlation_id=correlation_of(header),
                    )

    # ── the monitor ──────────────────────────────────────────────────────────────────────────────

    def report_lost(self, incarnation: int, outcomes: Sequence[Outcome]) -> None:
        """The outcomes of what the worker of this incarnation had begun."""
        self._report(outcomes, incarnation)

    def report(self, outcomes: Sequence[Outcome]) -> None:
        """Outcomes of messages that the pusher has rejected."""
        self._report(outcomes, None)

    def _report(self, outcomes: Sequence[Outcome], incarnation: int | None) -> None:
        """Keep the outcomes until they are recorded, and send them."""
        self._unrecorded.update({outcome.number: (incarnation, outcome) for outcome in outcomes})
        message = Outcomes(list(outcomes)) if incarnation is None else WorkerLost(incarnation, list(outcomes))
        with suppress(ConnectionLost):  # sent again after the next ``Hello``
            self._monitor.send(message)

    def _receive(self) -> None:
        if not self._monitor.connected and self._monitor.connect():
            self._send_hello()
        for message in self._monitor.receive():
            match message:
                case Recorded(numbers):
                    for number in numbers:
                        self._unrecorded.pop(number, None)
                case Goodbye():
                    self._goodbye_received = True

    def _send_hello(self) -> None:
        """A monitor stays as long as the pusher is connected. A new one is sent what the last one did not record."""
        with suppress(ConnectionLost):
            self._monitor.send(Hello(self._incarnation.number))
        for incarnation, outcome in list(self._unrecorded.values()):
            self._report([outcome], incarnation)
