"""Which cluster fires a row: claims, made in bulk, of rows that still are as they were seen.

Any number of clusters may look at the same rows. Whoever wants to fire some of them locks them first, passes over
those that another has locked, and reads again what it saw: a row that has changed since is somebody else's.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from django.db import connections, transaction
from django.db.models import F, QuerySet

from django_cluster.lifecycle.firing import Firing
from django_cluster.models.schedule import Schedule, ScheduleQuerySet
from django_cluster.models.schedule_sql import write_columns

logger = logging.getLogger("django_cluster")

SEEN = ("pk", "next_run", "repeats", "task", "runs", "enabled")


class Claims:
    """On the schedules of one database."""

    def __init__(self, alias: str) -> None:
        self.alias = alias

    def rows(self) -> ScheduleQuerySet:
        return ScheduleQuerySet(Schedule, using=self.alias)

    def together(self) -> AbstractContextManager[Any]:
        """What is written inside is kept as a whole, or not at all."""
        return transaction.atomic(using=self.alias)

    def lock(self, firings: Sequence[Firing]) -> list[Firing]:
        """Those that are free, and as they were seen: nobody else touches them before the transaction ends."""
        held = {firing.schedule.pk: firing.schedule.held_until for firing in firings}
        return self._still(firings, held, skip=True)

    def hold(self, firings: Sequence[Firing], until: datetime, now: datetime) -> None:
        """Nobody else fires the locked rows before ``until``. Each says at once which task its run is.

        A schedule that must not overlap is busy from here on: its run may begin, and end, before we hear of it.
        """
        pks = [firing.schedule.pk for firing in firings]
        self.rows().filter(pk__in=pks).update(held_until=until)
        begun = [firing for firing in firings if firing.package is not None and not firing.is_repeated]
        if begun:
            write_columns(self.alias, ("task",), [(firing.schedule.pk, firing.task_id) for firing in begun])
        if busy := [firing.schedule.pk for firing in begun if firing.schedule.no_overlap]:
            self.rows().filter(pk__in=busy).update(busy_since=now)

    def let_go(self, firings: Sequence[Firing], until: datetime, *, unsent: bool) -> None:
        """End our hold, so that they are fired soon. ``unsent``: it is certain that nobody has got a message.

        Otherwise the rows go on saying which task their run is: it may have begun.
        """
        ours = self._ours(firings, until)
        back = ("held_until", "task", "busy_since") if unsent else ("held_until",)
        rows = [(each.schedule.pk, *(getattr(each.schedule, name) for name in back)) for each in ours]
        write_columns(self.alias, back, rows)

    def step_on(self, firings: Sequence[Firing], until: datetime | None = None, now: datetime | None = None) -> None:
        """Write what follows; ``until`` names our own hold, ``now`` when a run that must not overlap was sent."""
        if until is not None:
            firings = self._ours(firings, until)
        done = [firing.schedule.pk for firing in firings if firing.changes is None]
        if done:
            self.rows().filter(pk__in=done).delete()
        kept = [(firing, firing.changes) for firing in firings if firing.changes is not None]
        for columns, rows in _by_columns(kept).items():
            write_columns(self.alias, columns, rows, free=True)
        if now is not None:
            busy = [each.schedule.pk for each, _ in kept if each.package is not None and each.schedule.no_overlap]
            if busy:
                self.rows().filter(pk__in=busy).update(busy_since=now)

    def park(self, row: Schedule, error: Exception, until: datetime) -> None:
        """It cannot be fired, and says why; nobody looks at it before ``until``."""
        message = str(error) or type(error).__name__
        same: QuerySet[Schedule] = self.rows().filter(
            pk=row.pk, next_run=row.next_run, runs=row.runs, enabled=True, held_until=row.held_until
        )
        if same.update(last_error=message, held_until=until) and message != row.last_error:
            logger.error("The schedule %r (%s) cannot be fired: %s", str(row), row.pk, message)

    def _ours(self, firings: Sequence[Firing], until: datetime) -> list[Firing]:
        return self._still(firings, dict.fromkeys((firing.schedule.pk for firing in firings), until), skip=False)

    def _still(self, firings: Sequence[Firing], held: Mapping[Any, datetime | None], *, skip: bool) -> list[Firing]:
        """Lock and read again. ``skip``: pass over what others have locked, instead of waiting for them."""
        features = connections[self.alias].features
        rows = self.rows().filter(pk__in=list(held)).order_by("pk")
        if features.has_select_for_update:
            rows = rows.select_for_update(skip_locked=skip and features.has_select_for_update_skip_locked)
        else:
            # SQLite: whoever writes first has the whole file; who reads first may find that it can write no more.
            self.rows().filter(pk=0).update(runs=F("runs"))
        current = {values[0]: values for values in rows.values_list(*SEEN, "held_until")}
        return [
            firing
            for firing in firings
            if current.get(firing.schedule.pk) == _seen(firing, held[firing.schedule.pk], ours=not skip)
        ]


def _seen(firing: Firing, held_until: datetime | None, *, ours: bool) -> tuple[Any, ...]:
    row = firing.schedule
    task = firing.task_id if ours and firing.package is not None else row.task
    return (row.pk, row.next_run, row.repeats, task, row.runs, True, held_until)


def _by_columns(kept: Sequence[tuple[Firing, Mapping[str, Any]]]) -> dict[tuple[str, ...], list[tuple[Any, ...]]]:
    """Rows that change the same columns are one statement."""
    found: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
    for firing, changes in kept:
        found.setdefault(tuple(changes), []).append((firing.schedule.pk, *changes.values()))
    return found
