"""Run queued tasks in the test process, in the order in which a cluster would.

Nothing is mocked: tasks are leased from the broker, verified, executed, recorded and acknowledged by the code of a
cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from django.db import DatabaseError, transaction

from django_cluster.brokers.messages import Delivery
from django_cluster.client.client import Client, raise_as_in_task
from django_cluster.core.codec import header_of
from django_cluster.core.messages import Job, Outcome
from django_cluster.testing.due import MovableClock, coming, due_of, make_ready, note_next_attempt
from django_cluster.testing.faults import outcome_of_death
from django_cluster.testing.queues import TestedQueue
from django_cluster.testing.transactions import committing, open_transactions, savepoint


class QueueRunner:
    """Runs what is due by a clock in some queues, and what those tasks send, until nothing is left."""

    def __init__(
        self,
        queues: Callable[[], Sequence[TestedQueue]],
        clock: MovableClock,
        *,
        raise_errors: bool = True,
        limit: int = 1000,
    ) -> None:
        """``queues``: asked again after each round, because a task may send to a queue that was not known before."""
        self._queues, self._clock, self._raise_errors, self._limit = queues, clock, raise_errors, limit
        self._early: list[tuple[TestedQueue, Delivery]] = []
        """Leased because they are due by the clock of the server, which the test has not changed."""

    def run(self) -> list[str]:
        """Run the tasks; returns their ids in order, once for each run.

        Raises the first failure as it was raised in the task, ``AssertionError`` for more than ``limit`` runs.
        """
        ids: list[str] = []
        try:
            while self._run_due(ids) or self._advance():
                continue
        finally:
            self._release_early()
        return ids

    def _run_due(self, ids: list[str]) -> bool:
        """Run what is due now; whether there was anything."""
        before = len(ids)
        for queue in self._queues():
            while delivery := self._lease(queue):
                if len(ids) >= self._limit:
                    self._early.append((queue, delivery))
                    raise AssertionError(
                        f"{self._limit} tasks were run, and there are more: do they send or repeat each other?"
                    )
                ids.append(self._run(queue, delivery))
        return len(ids) > before

    def _lease(self, queue: TestedQueue) -> Delivery | None:
        """The next delivery that is due."""
        broker, codec = queue.broker, queue.client.codec
        while deliveries := broker.lease(1) or (broker.lease(1) if make_ready(broker, self._clock) else ()):
            if self._clock.allows(header_of(codec.verify(deliveries[0].payload))):
                return deliveries[0]
            self._early.append((queue, deliveries[0]))
        return None

    def _advance(self) -> bool:
        """Set the clock forward to the next moment at which something is due; whether there is one."""
        if not self._clock.until:
            return False
        due = [moment for queue in self._queues() for moment in coming(queue.broker)]
        for queue, delivery in self._early:
            due.append(due_of(header_of(queue.client.codec.verify(delivery.payload)), None))
        if not self._clock.advance(due):
            return False
        self._release_early()
        return True

    def _release_early(self) -> None:
        early, self._early = self._early, []
        for queue, delivery in early:
            queue.broker.release([delivery], refund_attempt=True)

    def _run(self, queue: TestedQueue, delivery: Delivery) -> str:
        client = queue.client
        job = Job(0, client.codec.verify(delivery.payload), delivery.receipt, delivery.attempt, client.settings.queue)
        with committing():
            outcome, error = execute(client, job)
            again = note_next_attempt(client, outcome, self._clock.now())
            client.record(outcome, queue.broker)
        if self._raise_errors and not (again is not None and self._clock.will_run(again)):
            raise_as_in_task(error)
        return outcome.id


def execute(client: Client, job: Job) -> tuple[Outcome, BaseException | None]:
    """Execute in a savepoint, so that a database error in a task does not break the transaction of the test."""
    if (dead := outcome_of_death(client, job)) is not None:
        return dead
    with ExitStack() as stack:
        aliases = open_transactions()
        for alias in aliases:
            stack.enter_context(savepoint(alias))
        outcome, error = client.execute(job)
        if isinstance(error, DatabaseError):
            for alias in aliases:
                transaction.set_rollback(True, using=alias)
    return outcome, error
