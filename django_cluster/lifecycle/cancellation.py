"""Waiting tasks are taken out of their queue; what depends on them learns that they will not run.

A cancelled task has a row with the status ``cancelled``, as one that was cancelled while it ran. A schedule with
``no_overlap`` is busy until its task has ended, and a group waits for all of its members: a cancelled task has ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence

from django_cluster.brokers.base import Broker
from django_cluster.brokers.messages import QueuedMessage
from django_cluster.core.batching import batches
from django_cluster.core.cancel_requests import CancelRequest, keys_of
from django_cluster.core.codec import Codec, header_of
from django_cluster.core.messages import FailureDetails, Job, Outcome, OutcomeStatus, TaskHeader, path_of_class
from django_cluster.errors import PackageError, TaskCancelled
from django_cluster.models import Task
from django_cluster.stores.orm import clear_busy_schedules
from django_cluster.stores.tracked import TrackedTasks

SEARCH_DEPTH = 10_000
"""Messages from the front of a queue that are searched for tasks on which something depends."""

IDS_PER_STATEMENT = 500
UNNAMED = CancelRequest("")
PURGED = CancelRequest("", by="a purge of the queue")
"""Whose sentence stands in the rows of tasks that were purged."""

Found = Sequence[tuple[QueuedMessage, TaskHeader]]
"""Messages, and their verified headers."""


class Cancellation:
    """Acts on one queue."""

    def __init__(
        self, broker: Broker, codec: Codec, database: str, record: Callable[[Sequence[Outcome]], object]
    ) -> None:
        """``database``: where the schedules and the rows of tasks are.

        ``record``: saves how tasks ended, sends what follows in their compositions, and calls their hooks.
        """
        self._broker, self._codec, self._database, self._record = broker, codec, database, record

    def cancel(self, keys: Collection[str], request: CancelRequest = UNNAMED) -> int:
        """Cancel the messages with these keys; returns how many there were. Raises what ``Broker.cancel`` raises.

        ``request``: its sentence stands in their rows.
        """
        wanted = set(keys)
        return self._cancel(wanted, self._headers_of([each for each in self._look() if each.key in wanted]), request)

    def cancel_covered(self, requests: Sequence[CancelRequest]) -> int:
        """Cancel the waiting tasks that a request covers; returns how many. 0 where the broker cannot show its queue.

        Raises what ``Broker.peek`` and ``Broker.cancel`` raise.
        """
        if not self._broker.capabilities.cancel:
            return 0
        waiting = self._headers_of([each for each in self._look() if not each.leased])
        found = [each for each in waiting if any(request.covers(keys_of(each[1])) for request in requests)]
        return self._cancel({each.key for each, _ in found}, found, requests[0]) if found else 0

    def _cancel(self, keys: Collection[str], before: Found, request: CancelRequest) -> int:
        done = self._broker.cancel(list(keys))
        if before and done < len(keys):  # some of them may have begun
            left = {header.id for _, header in self._headers_of(self._look())}
            before = [(each, header) for each, header in before if header.id not in left]
        self._record([cancelled_outcome(each, header, self._codec, request) for each, header in before])
        self._note([header for _, header in before])
        return done

    def purge(self) -> int:
        """Delete every message; running tasks go on. Raises what ``Broker.purge`` raises.

        Only members of compositions, and tasks that were to be retried, have a row that says so.
        """
        before = self._headers_of([each for each in self._look() if not each.leased])
        done = self._broker.purge()
        headers = [header for _, header in before]
        known = self._unfinished([header.id for header in headers])
        self._record(
            [
                cancelled_outcome(each, header, self._codec, PURGED)
                for each, header in before
                if header.options.member or header.id in known
            ]
        )
        self._note(headers)
        return done

    def _look(self) -> Sequence[QueuedMessage]:
        return self._broker.peek(SEARCH_DEPTH) if self._broker.capabilities.peek else ()

    def _headers_of(self, waiting: Sequence[QueuedMessage]) -> list[tuple[QueuedMessage, TaskHeader]]:
        return list(verified_headers(waiting, self._codec))

    def _unfinished(self, ids: Sequence[str]) -> set[str]:
        """The tasks among ``ids`` whose rows say that they will be run again."""
        found: set[str] = set()
        for batch in batches(ids, most=IDS_PER_STATEMENT):
            rows = Task.objects.using(self._database).filter(pk__in=batch, final=False)
            found.update(rows.order_by().values_list("pk", flat=True))
        return found

    def _note(self, cancelled: Sequence[TaskHeader]) -> None:
        runs = {(header.options.schedule, header.id) for header in cancelled if header.options.schedule}
        clear_busy_schedules(self._database, runs)
        if tracked := [header.id for header in cancelled if header.options.tracked]:
            TrackedTasks(self._database).cancel(tracked)


def cancelled_outcome(waiting: QueuedMessage, header: TaskHeader, codec: Codec, request: CancelRequest) -> Outcome:
    """The end of a task that was taken out of the queue; as a member of a group, chain or iter it counts as failed."""
    attempt = waiting.attempts + 1  # after the runs that the row may know
    job = Job(0, b"", "", attempt, codec.queue)
    return outcome_of_cancelled(job, header, request, arguments=sealed_arguments(waiting.payload, header, codec))


def outcome_of_cancelled(
    job: Job, header: TaskHeader, request: CancelRequest, *, arguments: bytes | None = None
) -> Outcome:
    """The outcome of a task that was cancelled before it began; it is final."""
    now = time.time()
    return Outcome.of(
        job,
        header,
        OutcomeStatus.CANCELLED,
        started_at=now,
        stopped_at=now,
        worker="",
        arguments=arguments,
        failure=FailureDetails(path_of_class(TaskCancelled), request.sentence).plain,
    )


def sealed_arguments(payload: str, header: TaskHeader, codec: Codec) -> bytes | None:
    """The arguments as a row keeps them, so that the task can be sent again; None for arguments that are elsewhere."""
    try:
        body = codec.verify(payload)
        return codec.seal_arguments(body, header, codec.split(body)[1])
    except PackageError:
        return None


def verified_headers(waiting: Sequence[QueuedMessage], codec: Codec) -> Iterator[tuple[QueuedMessage, TaskHeader]]:
    """(message, verified header) each. Messages without a valid signature are left out: a program that can write into
    the queue must not change rows or free schedules."""
    for each in waiting:
        try:
            yield each, header_of(codec.verify(each.payload))
        except PackageError:
            continue
