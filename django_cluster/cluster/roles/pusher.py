"""The pusher: leases messages from the broker and assigns them to workers as jobs.

It leases what workers have asked for (``fetcher.py``), renews each lease until its job is recorded
(``lease_renewer.py``), assigns jobs (``assignments.py``), and accounts for the jobs of workers that die
(``worker_loss.py``): what they had begun is reported to the monitor, the rest goes to other workers.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from django_cluster.brokers.base import Broker
from django_cluster.brokers.messages import Delivery
from django_cluster.brokers.multi_queue import MultiQueueBroker
from django_cluster.cluster.bootstrap.host import yield_cpu
from django_cluster.cluster.ipc.control_pipe import ControlPipe
from django_cluster.cluster.ipc.incarnation import Incarnation
from django_cluster.cluster.ipc.process_row import ProcessState
from django_cluster.cluster.ipc.protocol import (
    Acknowledge,
    BrokerCall,
    BrokerReply,
    Jobs,
    Ready,
    Release,
    Returned,
    Stopping,
    WorkerHello,
)
from django_cluster.cluster.ipc.remote_ack import apply_broker_call
from django_cluster.cluster.ipc.running_jobs import RunningJobsReader
from django_cluster.cluster.ipc.scoreboard import Scoreboard
from django_cluster.cluster.ipc.server import ClientConnection, IpcServer, Received
from django_cluster.cluster.ipc.words import IN_FLIGHT, REVOKED, STATE
from django_cluster.cluster.roles.assignments import Assignments, WorkerConnection
from django_cluster.cluster.roles.fetcher import Fetcher
from django_cluster.cluster.roles.host_facts import host_facts
from django_cluster.cluster.roles.idleness import EmptyQueueDetector
from django_cluster.cluster.roles.lease_renewer import LeaseRenewer
from django_cluster.cluster.roles.verification_crashes import VerificationCrashes
from django_cluster.cluster.roles.worker_loss import WorkerLossReporter
from django_cluster.core.backoff import ReconnectBackoff
from django_cluster.core.codec import Codec
from django_cluster.core.events.processes import ACKNOWLEDGEMENTS_LEFT
from django_cluster.core.liveness import report_progress
from django_cluster.core.settings import BrokerSettings, ProcessSettings
from django_cluster.errors import BrokerError

MAX_WAIT_SECONDS = 0.5
"""Seconds that one turn of the loop waits at most."""
SHORT_WAIT_SECONDS = 0.02
"""Seconds that one turn waits while an exit code or the monitor is awaited, which wake nothing."""
SLOW_TASK_SECONDS = 0.1
"""Seconds after which jobs that wait behind a running one are taken back for an idle worker."""
QUEUE_LIMIT_CHECK_SECONDS = 0.005
"""Seconds between two checks for room while ``queue_limit`` is reached."""
STORE_FENCE_SECONDS = 0.001
"""Seconds after which a word written by another processor is certainly visible."""


class Pusher:
    """Assigns jobs to workers, each over its own connection."""

    def __init__(
        self,
        incarnation: Incarnation,
        board: Scoreboard,
        control: ControlPipe,
        broker: Broker,
        codec: Codec,
        settings: tuple[BrokerSettings, ProcessSettings],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._incarnation, self._board, self._control = incarnation, board, control
        self._broker, self._codec, self._clock = broker, codec, clock
        sections = [each.settings for each in broker.members] if isinstance(broker, MultiQueueBroker) else settings[:1]
        self._queue_limit = settings[1].prefetch
        self._several = broker if isinstance(broker, MultiQueueBroker) else None
        self._server = IpcServer(incarnation.runtime_dir.pusher_socket)
        self._server.add_wakeup(control.fileno())
        self._assignments = Assignments(incarnation.number)
        running_jobs = RunningJobsReader(incarnation.runtime_dir.path)
        self._loss_reporter = WorkerLossReporter(
            incarnation, board, control, codec, self._assignments, clock, host_facts(settings[1]), running_jobs
        )
        self._backoff = ReconnectBackoff("Broker", clock)
        self._lease_renewer = LeaseRenewer(
            board, broker, self._assignments, self._loss_reporter, min(each.lease for each in sections), clock,
            running_jobs,
        )  # fmt: skip
        self._crashes = VerificationCrashes(incarnation.runtime_dir.path)
        self._fetcher = Fetcher(
            (incarnation.number, incarnation.row), board, broker, codec,
            self._assignments, self._loss_reporter, self._crashes, sections, clock,
        )  # fmt: skip
        self._empty_queue_detector = EmptyQueueDetector(board, incarnation.row, broker, clock)
        self._local_receipts = not broker.capabilities.portable_receipts
        self.stopping = False

    # ── the loop ─────────────────────────────────────────────────────────────────────────────────

    def run(self) -> None:
        """Run until a stop is requested and the last worker has exited."""
        self._board.set(self._incarnation.row, STATE, ProcessState.IDLE)
        while not self.finished:
            self.tick()
        self._board.set(self._incarnation.row, STATE, ProcessState.STOPPING)
        self.close()

    def close(self) -> None:
        self._loss_reporter.close()
        self._server.close()
        self._crashes.close()
        if self._local_receipts:
            with suppress(BrokerError):
                self._broker.close()

    @property
    def finished(self) -> bool:
        return self._is_drained and (
            not self._local_receipts or (self._loss_reporter.may_exit and self._all_acknowledged)
        )

    @property
    def _all_acknowledged(self) -> bool:
        """Whether the broker has confirmed all acknowledgements, or has had long enough for it."""
        unsettled = self._broker.unconfirmed_acks
        if unsettled and self._loss_reporter.goodbye_overdue:
            ACKNOWLEDGEMENTS_LEFT.log(count=unsettled)
            return True
        return not unsettled

    @property
    def _is_drained(self) -> bool:
        """Whether nothing is left to do except what the monitor may still ask for."""
        return self.stopping and not (
            self._assignments.workers or self._assignments.unassigned or self._loss_reporter.busy
        )

    @property
    def _has_leases(self) -> bool:
        """Whether anything is leased here, including what waits for the report about a dead worker."""
        kept = any(worker.unrecorded_receipts for worker in self._assignments.workers.values())
        return bool(self._assignments.in_flight or kept or self._loss_reporter.busy)

    def tick(self) -> None:
        """One turn: receive messages, account for dead workers, renew leases, fetch and assign."""
        self._board.report_alive(self._incarnation.row)
        if self._local_receipts:
            descriptor = self._broker.fileno()
            self._fetcher.has_wakeup = (
                descriptor is not None or self._several is not None
            )  # several brokers have no descriptor in common
            self._server.set_wakeup(descriptor)
        for received in self._server.poll(self._pause()):
            self._handle(received)
        for worker in [b for b in self._assignments.workers.values() if self._board.has_ended(b.row, b.incarnation)]:
            self._handle(self._server.drain(worker.connection))  # a program of its tasks may keep the connection open
        self._loss_reporter.tick()
        if self._control.stop_requested and not self.stopping:
            self._stop()
        if self._control.orphaned:
            self._kill_running()
        if self._backoff.due:
            self._with_broker()
        if self._local_receipts and self._is_drained:
            self._loss_reporter.request_goodbye()
        self._board.set(self._incarnation.row, IN_FLIGHT, self._assignments.in_flight)

    def _pause(self) -> float:
        now = self._clock()
        if self._loss_reporter.waiting:
            return SHORT_WAIT_SECONDS
        until = [now + MAX_WAIT_SECONDS, max(self._lease_renewer.due_at, self._backoff.retry_at)]
        if self._free_slots and not self.stopping:
            until.append(max(self._fetcher.next_fetch_at, self._backoff.retry_at))
        elif self._queue_limit and self._assignments.wanted and not self.stopping:
            until.append(now + QUEUE_LIMIT_CHECK_SECONDS)  # no worker tells us when it begins a job
        if self._assignments.unassigned and self._assignments.wanted:
            until.append(self._backoff.retry_at)
        return max(0.0, min(until) - now)

    @property
    def _free_slots(self) -> int:
        """How many messages to lease: what workers have requested, up to ``queue_limit`` beyond what they run."""
        limit, assignments = self._queue_limit, self._assignments
        asked = assignments.wanted + limit - len(assignments.unassigned)
        if limit and asked > 0:
            asked = min(asked, limit + len(assignments.workers) - self._unfinished())
        return max(0, asked)

    def _unfinished(self) -> int:
        """How many jobs of this cluster wait or run. Finished jobs that are not recorded yet do not count."""
        count = len(self._assignments.unassigned)
        for worker in self._assignments.workers.values():
            row = self._board.read(worker.row)
            count += len(worker.waiting(row.begun)) + (row.state is ProcessState.BUSY)
        return count

    def _with_broker(self) -> None:
        """Do everything that needs the broker. While it is unavailable, all of it waits."""
        try:
            if self._local_receipts:
                self._broker.keep_alive()
            self._lease_renewer.renew_if_due()
            report_progress()  # the next step may wait for the broker for as long again
            if self.stopping:
                self._return_leased()
            else:
                self._revoke_lost()
                self._rebalance()
                self._assign()
                if self._fetcher.fetch(self._free_slots, self._lease_renewer.certain_until):
                    self._lease_renewer.renew_soon()
                self._assign()
                if self._empty_queue_detector.wanted:
                    self._empty_queue_detector.check(holds=self._has_leases)
        except BrokerError as error:
            self._backoff.failed(error)
            self._lease_renewer.renew_soon()  # as soon as it answers, before anything is claimed
        else:
            self._backoff.recovered()

    # ── workers ──────────────────────────────────────────────────────────────────────────────────

    def _handle(self, received: Received) -> None:
        worker = self._assignments.workers.get(received.connection)
        for message in received.messages:
            match message:
                case Ready(wanted, recorded) if worker is not None:
                    self._note_request(worker, wanted, recorded)
                case Returned(numbers) if worker is not None:
                    self._assignments.take_back(worker, numbers)
                case Stopping() if worker is not None:
                    worker.wanted = 0
                case WorkerHello():
                    worker = self._add_worker(received.connection, message)
                case Acknowledge() | Release():
                    self._handle_broker_call(received.connection, message)
        if received.ended and worker is not None:
            self._assignments.workers.pop(received.connection, None)
            self._loss_reporter.add(worker)

    def _add_worker(self, connection: ClientConnection, hello: WorkerHello) -> WorkerConnection:
        self._loss_reporter.forget(hello.incarnation)
        worker = WorkerConnection(connection, hello.incarnation, hello.row)
        self._assignments.requeue_first(hello.waiting)
        self._lease_renewer.renew_soon()  # before any of it is assigned again
        worker.unrecorded_receipts = dict(hello.unrecorded)
        self._assignments.add_worker(worker)
        return worker

    def _note_request(self, worker: WorkerConnection, wanted: int, recorded: Sequence[int]) -> None:
        self._assignments.mark_recorded(worker, recorded)
        if wanted:
            worker.wanted += wanted
            self._fetcher.fetch_now()

    def _revoke_lost(self) -> None:
        """Revoke from the workers what other clusters have taken over, and forget it, even if it comes back later."""
        if not self._lease_renewer.lost:
            return
        for worker in self._assignments.workers.values():
            if any(job.receipt in self._lease_renewer.lost for job in worker.jobs.values()):
                self._revoke(worker)
        self._assignments.drop(self._lease_renewer.lost)

    def _assign(self) -> None:
        """Assign jobs, unless their leases may have expired because this process, or its claim, was delayed."""
        if not self._assignments.unassigned or self._lease_renewer.expired:
            return
        for worker, jobs in self._assignments.assign():
            worker.connection.send(Jobs(jobs))
        yield_cpu()  # before more is leased: a single task would wait for that

    def _rebalance(self) -> None:
        """Revoke what waits behind a slow task while another worker has nothing to do."""
        if self._assignments.unassigned or not any(b.wanted and not b.jobs for b in self._assignments.workers.values()):
            return
        now = self._clock()
        for worker in self._assignments.workers.values():
            if len(worker.jobs) < 2:
                continue
            row = self._board.read(worker.row)
            if row.busy and now - row.started > SLOW_TASK_SECONDS:
                self._revoke(worker)

    def _revoke(self, worker: WorkerConnection) -> None:
        """Take back every job that this worker has not begun.

        The worker writes BEGUN before it reads REVOKED, the pusher writes REVOKED before it reads BEGUN: for each
        job at least one of them sees what the other wrote. If both do, the worker sends ``Returned``.
        """
        last = max(worker.jobs, default=0)
        if last <= worker.revoked:
            return
        worker.revoked = last
        self._board.set(worker.row, REVOKED, last)
        time.sleep(STORE_FENCE_SECONDS)
        row = self._board.read(worker.row)
        if row.incarnation == worker.incarnation:
            self._assignments.take_back(worker, [job.number for job in worker.waiting(row.begun)])

    # ── the broker ───────────────────────────────────────────────────────────────────────────────

    def _handle_broker_call(self, connection: ClientConnection, call: BrokerCall) -> None:
        """Acknowledge for the monitor, where a receipt is valid in this process only."""
        if not self._backoff.due:
            connection.send(BrokerReply(call.call, "The broker is unavailable."))
            return
        try:
            apply_broker_call(self._broker, call)
        except BrokerError as error:
            if self._several is None or self._several.single_server:  # otherwise the other servers are still used
                self._backoff.failed(error)
            connection.send(BrokerReply(call.call, str(error)))
        else:
            connection.send(BrokerReply(call.call, None))

    # ── stopping ─────────────────────────────────────────────────────────────────────────────────

    def _stop(self) -> None:
        """Lease no more, and take back what is not begun. The sentinel tells the workers to stop."""
        self.stopping = True
        for worker in self._assignments.workers.values():
            self._revoke(worker)

    def _kill_running(self) -> None:
        """Without a sentinel no timeout holds: kill the workers that run a task, where the kernel has not done so."""
        for worker in self._assignments.workers.values():
            row = self._board.read(worker.row)
            if row.incarnation == worker.incarnation and row.busy:
                with suppress(ProcessLookupError):
                    os.kill(row.pid, signal.SIGKILL)

    def _return_leased(self) -> None:
        self._broker.stop_prefetch()
        if self._loss_reporter.abandoned and (receipts := self._loss_reporter.take_receipts()):
            self._broker.release([Delivery(receipt, "", 1) for receipt in receipts])
        if self._assignments.unassigned:
            unassigned = self._assignments.unassigned
            signed = [
                self._codec.for_queue(message.queue or self._codec.queue).sign(message.body) for message in unassigned
            ]
            leased = zip(unassigned, signed, strict=True)
            deliveries = [Delivery(message.receipt, text, message.attempt) for message, text in leased]
            self._broker.release(deliveries, refund_attempt=True)
            unassigned.clear()
