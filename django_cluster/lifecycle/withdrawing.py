"""What waits is taken out of a queue by an operator; whoever waits for it is told that it will not run.

A schedule whose runs must not overlap is busy until its task has ended. The row of a failed run says that it will be
tried again. A task that was taken out never ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.db.models import F, Value
from django.db.models.functions import Concat

from django_cluster.brokers.base import Broker, Waiting
from django_cluster.core.codec import Codec, header_of
from django_cluster.core.messages import TaskHeader
from django_cluster.errors import PackageError
from django_cluster.models import Task
from django_cluster.stores.orm import free_schedules

DEPTH = 10_000
"""Messages from the front of a queue in which we look for tasks that somebody waits for."""

IDS_PER_STATEMENT = 500
CANCELLED = "\n(The next run was taken out of the queue by an operator.)"
"""What is added to the error of a run that was to be tried again."""


class Withdrawer:
    """Acts on one queue. ``database``: where the schedules and the rows of tasks are."""

    def __init__(self, broker: Broker, codec: Codec, database: str) -> None:
        self._broker, self._codec, self._database = broker, codec, database

    def withdraw(self, keys: Sequence[str]) -> int:
        """Take out what waits under these keys; how many there were. Raises as ``Broker.withdraw``."""
        wanted = set(keys)
        before = self._labels([each for each in self._look() if each.key in wanted])
        done = self._broker.withdraw(keys)
        if before and done < len(wanted):  # some of them may have begun
            left = {header.id for header in self._labels(self._look())}
            before = [header for header in before if header.id not in left]
        self._note(before)
        return done

    def purge(self) -> int:
        """Delete every message; what runs, runs on. Raises as ``Broker.purge``."""
        before = self._labels([each for each in self._look() if not each.leased])
        done = self._broker.purge()
        self._note(before)
        return done

    def _look(self) -> Sequence[Waiting]:
        return self._broker.peek(DEPTH) if self._broker.capabilities.peek else ()

    def _labels(self, waiting: Sequence[Waiting]) -> list[TaskHeader]:
        return [header for _, header in labels_of(waiting, self._codec)]

    def _note(self, headers: Sequence[TaskHeader]) -> None:
        runs = {(header.options.schedule, header.id) for header in headers if header.options.schedule}
        free_schedules(self._database, runs)
        ids = [header.id for header in headers]
        for start in range(0, len(ids), IDS_PER_STATEMENT):
            rows = Task.objects.using(self._database).filter(pk__in=ids[start : start + IDS_PER_STATEMENT], final=False)
            rows.update(final=True, error_message=Concat(F("error_message"), Value(CANCELLED)))


def labels_of(waiting: Sequence[Waiting], codec: Codec) -> Iterator[tuple[Waiting, TaskHeader]]:
    """Verified: whoever can write into a queue cannot thereby change rows or set schedules free."""
    for each in waiting:
        try:
            yield each, header_of(codec.verify(each.payload))
        except PackageError:
            continue
