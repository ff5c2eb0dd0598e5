"""Which leases a cluster keeps alive, and when: of everything that anybody in it holds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection
from typing import NamedTuple

from django_cluster.brokers.base import Broker
from django_cluster.brokers.multi_queue import MultiQueueBroker
from django_cluster.cluster.ipc.incarnation import ProcessRole, decode_role
from django_cluster.cluster.ipc.scoreboard import BEGUN, ROLE_CODE, Scoreboard
from django_cluster.cluster.roles.assignments import Assignments, WorkerConnection
from django_cluster.cluster.roles.worker_loss import WorkerLossReporter
from django_cluster.core.events.event import Event
from django_cluster.core.events.messages import ALL_LEASES_LOST, LEASE_LOST
from django_cluster.core.messages import Job

RENEWALS_PER_LEASE = 3
"""How often a lease is renewed in its length."""
SAFETY_MARGIN = 0.1
"""Part of a lease before its end in which nothing is claimed or handed out any more without a renewal."""


def certain_until(renewed_at: float, lease: float) -> float:
    """The moment up to which everything is certainly leased that was renewed, or leased, at ``renewed_at`` or later.

    ``renewed_at``: the moment before the renewal was sent. ``lease``: seconds.
    """
    return renewed_at + lease * (1 - SAFETY_MARGIN)


class LeaseLoss(NamedTuple):
    """What a renewal has found to be gone."""

    held: int
    """How many leases were renewed, or should have been."""
    running: int
    """How many of the lost ones belong to tasks that still run here."""
    waiting: int
    """How many of the lost ones belong to messages of which no run has begun."""
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
    """Renewed by the pusher, three times in the length of a lease (``seconds``)."""

    def __init__(
        self,
        board: Scoreboard,
        broker: Broker,
        assignments: Assignments,
        loss_reporter: WorkerLossReporter,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._board, self._broker, self._assignments, self._loss_reporter = board, broker, assignments, loss_reporter
        self._seconds, self._clock = seconds, clock
        self._several = broker if isinstance(broker, MultiQueueBroker) else None
        # Elsewhere, to renew what has been given back would put its next run off.
        self._renews_finished = broker.capabilities.portable_receipts and broker.capabilities.fenced_receipts
        self.due_at = 0.0
        """The moment of the clock of the next renewal. At once: a predecessor may have died long ago."""
        self._renewed_at = -math.inf
        self._reported: set[str] = set()
        """Receipts of running tasks whose lost lease has been logged."""
        self.lost: Collection[str] = ()
        """Receipts that the last renewal has found to be gone, and whose messages wait here: nobody may begin them."""

    @property
    def certain_until(self) -> float:
        """The moment of the clock up to which all that this cluster holds is certainly leased to it.

        Later, a claim could take back what runs here, and what waits here may be another's: a renewal comes first.
        """
        return certain_until(self._renewed_at, self._seconds)

    @property
    def expired(self) -> bool:
        return self._clock() >= self.certain_until

    def renew_soon(self) -> None:
        """Before anything else is done: somebody has come who may hold what has nearly ended."""
        self.due_at = 0.0

    def renew_if_due(self) -> None:
        """Renew all if it is time. Loans whose lease was lost are forgotten. Raises ``BrokerError``."""
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
        # Only now: after an outage this comes first, or we would be lent again what still runs here.
        self._renewed_at, self.due_at = now, now + self._seconds / RENEWALS_PER_LEASE
        self._board.set_leased_until(self.certain_until)

    def _handle_lost(self, lost: set[str], held: int, *, in_time: bool) -> None:
        """A lost lease of a job that is done is no news: it was acknowledged, and we have not received *filed* yet.

        A worker clears its row before it reports, so what its row still names was not acknowledged when we asked.
        """
        still_lost = lost.intersection(self._board.running_receipts())
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
        held = {*self._assignments.receipts(), *self._loss_reporter.receipts(), *self._board.running_receipts()}
        if self._renews_finished:
            held.update(receipt for row in self._unknown_worker_rows() for receipt in self._board.done_receipts(row))
        return [receipt for receipt in held if receipt]

    def _unknown_worker_rows(self) -> list[int]:
        """Receipts of workers that have not connected to this pusher yet, and may hold unrecorded jobs."""
        known = {worker.row for worker in self._assignments.workers.values()}
        rows = set(range(self._board.rows)) - known
        return [row for row in rows if decode_role(self._board.get(row, ROLE_CODE))[0] is ProcessRole.WORKER]
