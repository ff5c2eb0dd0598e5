"""An operator cancels waiting tasks; what depends on them learns that they will not run.

A schedule with ``no_overlap`` is busy until its task has ended. The row of a failed run says that it will be retried. A
group waits for all of its members. A cancelled task never ends by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from django.db.models import F, Value
from django.db.models.functions import Concat

from django_cluster.brokers.base import Broker
from django_cluster.brokers.messages import QueuedMessage
from django_cluster.core.batching import batches
from django_cluster.core.codec import Codec, header_of
from django_cluster.core.messages import FailureDetails, Job, Outcome, OutcomeStatus, TaskHeader, path_of_class
from django_cluster.errors import Discard, PackageError
from django_cluster.models import Task
from django_cluster.stores.orm import clear_busy_schedules
from django_cluster.stores.tracked import TrackedTasks

SEARCH_DEPTH = 10_000
"""Messages from the front of a queue that are searched for tasks on which something depends."""

IDS_PER_STATEMENT = 500
CANCELLED = "\n(The next run was taken out of the queue by an operator.)"
"""Added to the error of a failed run whose retry was cancelled."""


class Cancellation:
    """Acts on one queue."""

    def __init__(
        self, broker: Broker, codec: Codec, database: str, record: Callable[[Sequence[Outcome]], object]
    ) -> None:
        """``database``: where the schedules and the rows of tasks are.

        ``record``: saves how tasks ended, and sends what follows in their compositions.
        """
        self._broker, self._codec, self._database, self._record = broker, codec, database, record

    def cancel(self, keys: Sequence[str]) -> int:
        """Cancel the messages with these keys; returns how many there were. Raises what ``Broker.cancel`` raises."""
        wanted = set(keys)
        before = self._headers_of([each for each in self._look() if each.key in wanted])
        done = self._broker.cancel(keys)
        if before and done < len(wanted):  # some of them may have begun
            left = {header.id for _, header in self._headers_of(self._look())}
            before = [(each, header) for each, header in before if header.id not in left]
        self._note(before)
        return done

    def purge(self) -> int:
        """Delete every message; running tasks go on. Raises what ``Broker.purge`` raises."""
        before = self._headers_of([each for each in self._look() if not each.leased])
        done = self._broker.purge()
        self._note(before)
        return done

    def _look(self) -> Sequence[QueuedMessage]:
        return self._broker.peek(SEARCH_DEPTH) if self._broker.capabilities.peek else ()

    def _headers_of(self, waiting: Sequence[QueuedMessage]) -> list[tuple[QueuedMessage, TaskHeader]]:
        return list(verified_headers(waiting, self._codec))

    def _note(self, cancelled: Sequence[tuple[QueuedMessage, TaskHeader]]) -> None:
        if members := [
            cancelled_member(each, header, self._codec.queue) for each, header in cancelled if header.options.member
        ]:
            self._record(members)  # a group would wait for them forever
        headers = [header for _, header in cancelled]
        runs = {(header.options.schedule, header.id) for header in headers if header.options.schedule}
        clear_busy_schedules(self._database, runs)
        ids = [header.id for header in headers]
        if tracked := [header.id for header in headers if header.options.tracked]:
            TrackedTasks(self._database).cancel(tracked)
        for batch in batches(ids, most=IDS_PER_STATEMENT):
            rows = Task.objects.using(self._database).filter(pk__in=batch, final=False)
            rows.update(final=True, error_message=Concat(F("error_message"), Value(CANCELLED)))


def cancelled_member(waiting: QueuedMessage, header: TaskHeader, queue: str) -> Outcome:
    """The end of a member of a group, chain or iter that was taken out of the queue: it counts as failed."""
    now = time.time()
    attempt = waiting.attempts + 1  # after the runs that the row may know
    return Outcome.of(
        Job(0, b"", "", attempt, queue),
        header,
        OutcomeStatus.DISCARDED,
        started_at=now,
        stopped_at=now,
        worker="",
        failure=FailureDetails(path_of_class(Discard), "The task was taken out of the queue by an operator.").plain,
    )


def verified_headers(waiting: Sequence[QueuedMessage], codec: Codec) -> Iterator[tuple[QueuedMessage, TaskHeader]]:
    """(message, verified header) each. Messages without a valid signature are left out: a program that can write into
    the queue must not change rows or free schedules."""
    for each in waiting:
        try:
            yield each, header_of(codec.verify(each.payload))
        except PackageError:
            continue
