"""What waits is taken out of a queue by an operator; a schedule that waits for it is told that its run is over.

A schedule whose runs must not overlap is busy until its task has ended. A task that was taken out never ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django_cluster.brokers.base import Broker, Waiting
from django_cluster.core.codec import Codec
from django_cluster.core.messages import TaskHeader
from django_cluster.errors import PackageError
from django_cluster.models import Schedule
from django_cluster.stores.orm import free_schedules

DEPTH = 10_000
"""How far into a queue we look for the tasks of schedules."""

Run = tuple[int, str]
"""A schedule, and the task that is its run."""


class Withdrawer:
    """Acts on one queue. ``database``: where the schedules are."""

    def __init__(self, broker: Broker, codec: Codec, database: str) -> None:
        self._broker, self._codec, self._database = broker, codec, database

    def withdraw(self, keys: Sequence[str]) -> int:
        """Take out what waits under these keys; how many there were. Raises as ``Broker.withdraw``."""
        if not self._anybody_waits():
            return self._broker.withdraw(keys)
        wanted = set(keys)
        runs = self._runs([each for each in self._look() if each.key in wanted])
        done = self._broker.withdraw(keys)
        if runs and done < len(wanted):  # some of them may have begun
            runs.difference_update(self._runs(self._look()))
        free_schedules(self._database, runs)
        return done

    def purge(self) -> int:
        """Delete every message; what runs, runs on. Raises as ``Broker.purge``."""
        runs = self._runs([each for each in self._look() if not each.leased]) if self._anybody_waits() else set()
        done = self._broker.purge()
        free_schedules(self._database, runs)
        return done

    def _anybody_waits(self) -> bool:
        busy = Schedule.objects.using(self._database).filter(busy_since__isnull=False)
        return self._broker.capabilities.peek and busy.exists()

    def _look(self) -> Sequence[Waiting]:
        return self._broker.peek(DEPTH)

    def _runs(self, waiting: Sequence[Waiting]) -> set[Run]:
        return {(header.options.schedule, header.id) for header in self._headers(waiting) if header.options.schedule}

    def _headers(self, waiting: Sequence[Waiting]) -> Iterator[TaskHeader]:
        """Verified: whoever can write into a queue cannot set schedules free."""
        for each in waiting:
            try:
                yield self._codec.label(self._codec.verify(each.payload))[0]
            except PackageError:
                continue
