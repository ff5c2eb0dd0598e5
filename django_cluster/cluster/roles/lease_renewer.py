"""Renews the leases of everything that the processes of a cluster hold."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection
from typing import NamedTuple

from django_cluster.brokers.base import Broker
from django_cluster.brokers.multi_queue import MultiQueueBroker
from django_cluster.cluster.ipc.incarnation import ProcessRole, decode_role
from django_cluster.cluster.ipc.running_jobs import RunningJobsReader
from django_cluster.cluster.ipc.scoreboard import Scoreboard
from django_cluster.cluster.ipc.words import BEGUN, EXIT_CODE, JOB_SLOTS, ROLE_CODE, STILL_RUNNING
from django_cluster.cluster.roles.assignments import Assignments, WorkerConnection
from django_cluster.cluster.roles.worker_loss import WorkerLossReporter
from django_cluster.core.events.event import Event
from django_cluster.core.events.messages import ALL_LEASES_LOST, LEASE_LOST
from django_cluster.core.messages import Job

RENEWALS_PER_LEASE = 3
"""How often a lease is renewed within its duration."""
SAFETY_MARGIN = 0.1
"""Last part of a lease in which nothing is claimed or assigned without a renewal."""


def certain_until(renewed_at: float, lease: float) -> float:
    """The time up to which everything is certainly leased that was renewed, or leased, at ``renewed_at`` or later.

    ``renewed_at``: the time before the renewal was sent. ``lease``: seconds.
    """
    return renewed_at + lease * (1 - SAFETY_MARGIN)


class LeaseLoss(NamedTuple):
    """The leases that a renewal has found to be lost."""

    held: int
    """How many leases were renewed, or should have been."""
    running: int
    """How many of the lost leases belong to tasks that still run here."""
    waiting: int
    """How many of the lost leases belong to messages of which no run has started."""
    in_time: bool
    """Whether the renewal came before any of these leases could have ended."""


def describe_loss(loss: LeaseLoss) -> tuple[Event, dict[str, object]] | None:
    """The event, and its fields, with which a loss is logged; None where there is nothing to say.

    A lease that was renewed in time cannot have ended: if it is gone, the broker has lost it, or an operator has purged
    the queue. After a pause of this cluster, other clusters may have taken over what it held.
    """
    gone = loss.running + loss.waiting
    if not gone:
        return None
    counts: dict[str, object] = {"running": loss.running, "waiting": loss.waiting, "held": loss.held}
    if not loss.in_time:
        return LEASE_LOST, {
            **counts,
            "reason": "they ended before they could be renewed, and other clusters have leased them",
        }
    if gone == loss.held and loss.running:
        return ALL_LEASES_LOST, counts
    return LEASE_LOST, {**counts, "reason": "the broker no longer knows them, although they were renewed in time"}


class LeaseRenewer:
    """Renews leases of ``seconds`` for the pusher, three times within their duration."""

    def __init__(
        self,
        board: Scoreboard,
        broker: Broker,
        assignments: Assignments,
        loss_reporter: WorkerLossReporter,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        running_jobs: RunningJobsReader | None = None,
    ) -> None:
        self._running_jobs = running_jobs
        self._board, self._broker, self._assignments, self._loss_reporter = board, broker, assignments, loss_reporter
        self._seconds, self._clock = seconds, clock
        self._several = broker if isinstance(broker, MultiQueueBroker) else None
        # At other brokers, renewing what has been returned would delay its next run.
        self._renews_finished = broker.capabilities.portable_receipts and broker.capabilities.fenced_receipts
        self.due_at = 0.0
        """The time, of the clock, of the next renewal. The first is immediate: a predecessor may have died long ago."""
        self._renewed_at = -math.inf
        self._reported: set[str] = set()
        """Receipts of running tasks whose lost lease has been logged."""
        self.lost: Collection[str] = ()
        """Receipts whose lease was lost and whose messages wait here: they must not be begun."""

    @property
    def certain_until(self) -> float:
        """The time, of the clock, up to which everything that this cluster holds is certainly leased to it.

        Later, a claim could take back what runs here, and what waits here may have another owner: a renewal has to
        come first.
        """
        return certain_until(self._renewed_at, self._seconds)

    @property
    def expired(self) -> bool:
        return self._clock() >= self.certain_until

    def renew_soon(self) -> None:
        """Let the next turn renew all leases: a worker has connected whose leases may be about to end."""
        self.due_at = 0.0

    def renew_if_due(self) -> None:
        """Renew all leases if it is time. Lost ones are forgotten. Raises ``BrokerError``."""
        now = self._clock()
        calls = self._several is not None and self._several.has_due_retry
        if now < self.due_at and not calls:
            return
        receipts = self._held()
        lost = set(self._broker.renew(receipts)) if receipts or calls else set[str]()
        if lost:
            self._handle_lost(lost, len(receipts), in_time=now < self._renewed_at + self._seconds)
        else:
            self.lost, self._reported = (), set()
        # Only now: after an outage the renewal has to succeed first, or what still runs here would be leased again.
        self._renewed_at, self.due_at = now, now + self._seconds / RENEWALS_PER_LEASE
        self._board.set_leased_until(self.certain_until)

    def _handle_lost(self, lost: set[str], held: int, *, in_time: bool) -> None:
        """Log lost leases, but not of finished jobs: these are acknowledged, and ``Recorded`` has not arrived yet.

        A worker clears its row before it sends an outcome, so what its row names was not acknowledged at the renewal.
        """
        still_lost = lost.intersection(self._running_receipts(unfinished=True))
        running, self._reported = still_lost - self._reported, still_lost
        dropped = self._assignments.drop(lost)
        unbegun = {job.receipt for worker in self._assignments.workers.values() for job in self._waiting_with(worker)}
        self.lost = lost & unbegun
        if report := describe_loss(LeaseLoss(held, len(running), dropped + len(self.lost), in_time)):
            event, fields = report
            event.log(exc_info=None, **fields)

    def _waiting_with(self, worker: WorkerConnection) -> list[Job]:
        return worker.waiting(self._board.get(worker.row, BEGUN))

    def _held(self) -> list[str]:
        held = {*self._assignments.receipts(), *self._loss_reporter.receipts(), *self._running_receipts()}
        if self._renews_finished:
            held.update(receipt for row in self._unknown_worker_rows() for receipt in self._board.done_receipts(row))
        return [receipt for receipt in held if receipt]

    def _running_receipts(self, *, unfinished: bool = False) -> list[str]:
        """The receipts of all running jobs, and of concurrent ones that are not recorded, unless ``unfinished``."""
        receipts = self._board.running_receipts()
        if self._running_jobs is not None:
            for row in range(self._board.rows):
                if self._board.get(row, JOB_SLOTS) and self._board.get(row, EXIT_CODE) == STILL_RUNNING:
                    jobs = self._running_jobs.read(self._board.read(row))
                    receipts += [job.receipt for job in jobs if job.runs or not unfinished]
        return receipts

    def _unknown_worker_rows(self) -> list[int]:
        """The rows of workers that have not connected: they run a task since before this pusher started."""
        known = {worker.row for worker in self._assignments.workers.values()}
        rows = set(range(self._board.rows)) - known
        return [row for row in rows if decode_role(self._board.get(row, ROLE_CODE))[0] is ProcessRole.WORKER]
