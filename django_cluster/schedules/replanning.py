"""Finds schedules whose next run is stale although they are not due, so that they are planned again.

Two things happen behind the back of a row. Another rule is written into it past its model (by SQL, by the historical
model of a migration, by a fixture): the database compares the columns with the text of the rule from which the next
run was calculated. And a program is started with a new time zone database: each intended local time is compared with
the moment that was calculated from it, once when a scheduler starts, because a process caches the zones it has read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta, tzinfo
from typing import Any

from django.utils import timezone

from django_cluster.core.batching import batches
from django_cluster.core.next_run import matches_local_time
from django_cluster.models.schedule import BATCH_ROWS, Schedule, ScheduleQuerySet
from django_cluster.models.schedule_timing import zone_named

COMPARE_INTERVAL = timedelta(seconds=10)
"""How often the columns are compared; the database reads all rows for it."""
PAGE_ROWS = 2000
"""Rows whose local times are compared at a time."""


class StalePlanFinder:
    """Finds stale rows of one queue. ``tz``: the zone of schedules that name none."""

    def __init__(self, tz: tzinfo | None) -> None:
        self._zone = tz
        self._zones_compared = False
        self._compared_at: datetime | None = None
        self._known: dict[str, tzinfo] = {}

    def batches(self, alive: ScheduleQuerySet, now: datetime) -> Iterator[list[Schedule]]:
        """Rows to be planned again, in batches; most calls send no query."""
        last = self._compared_at
        if last is None or not last <= now < last + COMPARE_INTERVAL:
            if rows := list(alive.with_stale_plans().order_by("pk")[:BATCH_ROWS]):
                yield rows
            if len(rows) < BATCH_ROWS:  # or else the next look goes on
                self._compared_at = now
        if not self._zones_compared:
            yield from self._with_changed_zone_rules(alive.filter(next_run__isnull=False).order_by("pk"))
            self._zones_compared = True

    def _with_changed_zone_rules(self, rows: ScheduleQuerySet) -> Iterator[list[Schedule]]:
        """Rows whose zone has other rules than when their next run was calculated."""
        last, columns = 0, ("pk", "next_run", "local_next_run", "time_zone")
        while page := list(rows.filter(pk__gt=last).values_list(*columns)[:PAGE_ROWS]):
            last = page[-1][0]
            keys = [values[0] for values in page if not self._holds(*values[1:])]
            for batch in batches(keys, most=BATCH_ROWS):
                yield list(rows.filter(pk__in=batch))

    def _holds(self, next_run: datetime, local: str, own_zone: Any) -> bool:
        zone: tzinfo | None = None
        with suppress(ValueError, OverflowError):  # a zone that is gone is said when the row is due
            if timezone.is_aware(next_run):
                zone = self._named(own_zone) if own_zone else self._zone or timezone.get_default_timezone()
            return matches_local_time(local, next_run, zone)
        return True

    def _named(self, zone: str) -> tzinfo:
        return self._known.get(zone) or self._known.setdefault(zone, zone_named(zone))
