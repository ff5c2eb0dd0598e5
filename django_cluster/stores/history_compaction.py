"""Merges rows of history into rows for longer intervals, and deletes the oldest. One cluster at a time does it.

Rows of each length are kept for as long as the overview needs them, which compares its window with the one before:
minutes for two hours, hours for two days, quarters of a day for 28 days; days for as long as the project says. Rows of
a quarter of an hour ago are no longer written by any cluster: those of all clusters are merged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from itertools import islice
from typing import NamedTuple

from django.db import connections
from django.db.models import QuerySet

from django_cluster.core.batching import batches
from django_cluster.database.session import Session
from django_cluster.models import Rollup
from django_cluster.stores.history_rows import COLUMNS, HISTORY_ROWS, RollupCounts, RollupKey, counts_of, key_of

SETTLED_SECONDS = 900.0
"""Age at which a minute is no longer written; see ``history_writer.MAX_LATE_SECONDS``."""
ROWS_PER_TRANSACTION = 500
"""Rows that one transaction merges or deletes."""
INTERVAL_SECONDS = 60.0
"""Seconds between two looks for what is due."""
MAX_SECONDS = 0.5
"""The monitor has other work: what one call does not merge, the next one will."""
LOCK = RollupKey("lock", 0, 0, "", "", "", "")
"""The row that a cluster locks while it merges."""


class Level(NamedTuple):
    """Rows of length ``step`` are merged into rows of length ``into`` when they are ``keep_seconds`` old."""

    step: int
    into: int
    keep_seconds: float


HOURS, DAYS = 3600.0, 86_400.0
LEVELS = (
    Level(Rollup.MINUTE, Rollup.HOUR, 2 * HOURS),
    Level(Rollup.HOUR, Rollup.QUARTER_DAY, 2 * DAYS),
    Level(Rollup.QUARTER_DAY, Rollup.DAY, 28 * DAYS),
)


class HistoryCompactor:
    """Called every few seconds, and looks once a minute."""

    def __init__(
        self,
        session: Session,
        days: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """``days``: how long history is kept."""
        self._session, self._days, self._clock, self._wall = session, days, clock, wall
        self._next = 0.0

    def compact(self) -> None:
        """Merge and delete what is due, for half a second at most. Raises ``StoreUnavailable``."""
        deadline = self._clock() + MAX_SECONDS
        if self._clock() < self._next:
            return
        while self._session.read(lambda: self._is_due(self._wall())):
            if not self._session.run(self._step):
                break  # another cluster is at it
            if self._clock() >= deadline:
                return
        self._next = self._clock() + INTERVAL_SECONDS

    def _step(self) -> bool:
        """Merge or delete one portion in a transaction; whether there may be more."""
        if not self._lock():
            return False
        now = self._wall()
        for rows in self._due(now):
            portion = list(rows.order_by("start", "id")[:ROWS_PER_TRANSACTION])
            if portion:
                self._replace(portion, now)
                return True
        return False

    def _is_due(self, now: float) -> bool:
        return any(rows.exists() for rows in self._due(now))

    def _due(self, now: float) -> Iterable[QuerySet[Rollup]]:
        """What is merged into longer intervals, what is merged across clusters, and what is deleted."""
        rows = self._rows()
        for level in LEVELS:
            # Whole intervals of the next level only: they are merged once, and not again and again.
            before = int(now - level.keep_seconds) // level.into * level.into
            yield rows.filter(step=level.step, start__lt=before)
        yield rows.filter(step=Rollup.MINUTE, start__lt=int(now - SETTLED_SECONDS)).exclude(cluster="")
        for level in LEVELS:
            yield rows.filter(step=level.into, start__lte=self._oldest(now) - level.into)

    def _oldest(self, now: float) -> int:
        return int(now - self._days * DAYS)

    def _replace(self, portion: list[Rollup], now: float) -> None:
        """Delete rows, and add what they count to others unless it is too old."""
        merged: dict[RollupKey, RollupCounts] = {}
        for row in portion:
            target = target_of(key_of(row), now)
            if target.start + target.step > self._oldest(now):
                merged.setdefault(target, RollupCounts()).merge(counts_of(row))
        ids = [target.id for target in merged]
        deleted = {row.id for row in portion}
        for row in self._rows().filter(pk__in=[each for each in ids if each not in deleted]):
            merged[key_of(row)].merge(counts_of(row))
        self._rows().filter(pk__in=list(deleted)).delete()
        rows = sorted(counts.values(target) for target, counts in merged.items())
        for batch in batches(rows, most=ROWS_PER_TRANSACTION):
            HISTORY_ROWS.write(self._session.connection, COLUMNS, batch)

    def _lock(self) -> bool:
        """Lock the row of the compaction until the end of the transaction; False while another cluster has it."""
        rows = self._rows()
        features = connections[self._session.alias].features
        rows.bulk_create([Rollup(id=LOCK.id, cluster=LOCK.cluster, step=0, start=0)], ignore_conflicts=True)
        skips = features.has_select_for_update_skip_locked
        locked = rows.filter(pk=LOCK.id).select_for_update(skip_locked=skips).values_list("pk")
        return any(islice(locked, 1))

    def _rows(self) -> QuerySet[Rollup]:
        return Rollup.objects.using(self._session.alias).order_by()


def target_of(key: RollupKey, now: float) -> RollupKey:
    """The row into which a row is merged: of the longest interval for which it is old enough, of no single cluster."""
    step, start = key.step, key.start
    for level in LEVELS:
        if step == level.step and start < int(now - level.keep_seconds) // level.into * level.into:
            step, start = level.into, start // level.into * level.into
    return key._replace(cluster="", step=step, start=start)
