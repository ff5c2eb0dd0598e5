"""Which cluster fires a row: claims, made in bulk, of rows that still are as they were seen.

Any number of clusters may read the same rows. A cluster that wants to fire some of them locks them first, skips rows
that another cluster has locked, and reads them again: a row that has changed since belongs to another cluster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from django.db import connections, transaction
from django.db.models import F, QuerySet

from django_cluster.core.events.schedules import SCHEDULE_SUSPENDED
from django_cluster.database.update_rows import update_rows
from django_cluster.models.schedule import Schedule, ScheduleQuerySet
from django_cluster.schedules.planning import PlannedRun

SEEN = ("pk", "next_run", "repeats", "task", "runs", "enabled")


UNCLAIMED = {"claimed_until": "NULL", "last_error": "''"}
"""Columns of a row that was fired, or passed over, without an error; values are SQL."""


class ScheduleClaims:
    """Claims on the schedules of one database."""

    def __init__(self, alias: str) -> None:
        self.alias = alias

    def rows(self) -> ScheduleQuerySet:
        return ScheduleQuerySet(Schedule, using=self.alias)

    def transaction(self) -> AbstractContextManager[Any]:
        """Everything that is written inside is committed, or nothing."""
        return transaction.atomic(using=self.alias)

    def lock(self, planned_runs: Sequence[PlannedRun]) -> list[PlannedRun]:
        """Lock the rows that are unclaimed and unchanged, until the transaction ends; returns their runs."""
        claimed_until = {run.schedule.pk: run.schedule.claimed_until for run in planned_runs}
        return self._unchanged(planned_runs, claimed_until, skip=True)

    def claim(self, planned_runs: Sequence[PlannedRun], until: datetime, now: datetime) -> None:
        """Claim the locked rows until ``until``, and write the task id of their run.

        A schedule that must not overlap is busy from now on: its run may start and end before this call returns.
        """
        pks = [run.schedule.pk for run in planned_runs]
        self.rows().filter(pk__in=pks).update(claimed_until=until)
        begun = [run for run in planned_runs if run.package is not None and not run.was_claimed_before]
        if begun:
            update_rows(self.alias, Schedule, ("task",), [(run.schedule.pk, run.task_id) for run in begun])
        if busy := [run.schedule.pk for run in begun if run.schedule.no_overlap]:
            self.rows().filter(pk__in=busy).update(busy_since=now)

    def unclaim(self, planned_runs: Sequence[PlannedRun], until: datetime, *, unsent: bool) -> None:
        """End the claims, so that the rows are fired soon. ``unsent``: it is certain that no message was sent.

        Otherwise the rows keep the task id of their run, because it may have started.
        """
        ours = self._ours(planned_runs, until)
        back = ("claimed_until", "task", "busy_since") if unsent else ("claimed_until",)
        rows = [(each.schedule.pk, *(getattr(each.schedule, name) for name in back)) for each in ours]
        update_rows(self.alias, Schedule, back, rows)

    def advance(
        self, planned_runs: Sequence[PlannedRun], until: datetime | None = None, now: datetime | None = None
    ) -> None:
        """Write the next run of each row. ``until``: of this cluster's own claim; ``now``: when the runs were sent."""
        if until is not None:
            planned_runs = self._ours(planned_runs, until)
        done = [run.schedule.pk for run in planned_runs if run.changes is None]
        if done:
            self.rows().filter(pk__in=done).delete()
        kept = [(run, run.changes) for run in planned_runs if run.changes is not None]
        for columns, rows in _by_columns(kept).items():
            update_rows(self.alias, Schedule, columns, rows, UNCLAIMED)
        if now is not None:
            busy = [each.schedule.pk for each, _ in kept if each.package is not None and each.schedule.no_overlap]
            if busy:
                self.rows().filter(pk__in=busy).update(busy_since=now)

    def suspend(self, row: Schedule, error: Exception, until: datetime) -> None:
        """Write why a row cannot be fired; it is not tried again before ``until``."""
        message = str(error) or type(error).__name__
        same: QuerySet[Schedule] = self.rows().filter(
            pk=row.pk, next_run=row.next_run, runs=row.runs, enabled=True, claimed_until=row.claimed_until
        )
        if same.update(last_error=message, claimed_until=until) and message != row.last_error:
            SCHEDULE_SUSPENDED.log(schedule=str(row), schedule_id=row.pk, error=message)

    def _ours(self, planned_runs: Sequence[PlannedRun], until: datetime) -> list[PlannedRun]:
        return self._unchanged(
            planned_runs, dict.fromkeys((run.schedule.pk for run in planned_runs), until), skip=False
        )

    def _unchanged(
        self, planned_runs: Sequence[PlannedRun], claimed_until: Mapping[Any, datetime | None], *, skip: bool
    ) -> list[PlannedRun]:
        """Lock the rows and read them again. ``skip``: skip rows that others have locked, instead of waiting."""
        features = connections[self.alias].features
        rows = self.rows().filter(pk__in=list(claimed_until)).order_by("pk")
        if features.has_select_for_update:
            rows = rows.select_for_update(skip_locked=skip and features.has_select_for_update_skip_locked)
        else:
            # SQLite: a transaction that reads first may not be able to write later; one that writes first can.
            self.rows().filter(pk=0).update(runs=F("runs"))
        current = {values[0]: values for values in rows.values_list(*SEEN, "claimed_until")}
        return [
            run
            for run in planned_runs
            if current.get(run.schedule.pk) == _seen(run, claimed_until[run.schedule.pk], ours=not skip)
        ]


def _seen(run: PlannedRun, claimed_until: datetime | None, *, ours: bool) -> tuple[Any, ...]:
    row = run.schedule
    task = run.task_id if ours and run.package is not None else row.task
    return (row.pk, row.next_run, row.repeats, task, row.runs, True, claimed_until)


def _by_columns(kept: Sequence[tuple[PlannedRun, Mapping[str, Any]]]) -> dict[tuple[str, ...], list[tuple[Any, ...]]]:
    """Rows that change the same columns are one statement."""
    found: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
    for run, changes in kept:
        found.setdefault(tuple(changes), []).append((run.schedule.pk, *changes.values()))
    return found
