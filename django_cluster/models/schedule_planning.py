"""A schedule before it is saved: its next run, if the rule was changed, and a clean slate after an error."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from datetime import datetime, tzinfo
from types import MappingProxyType
from typing import Any

from django.utils import timezone

from django_cluster.core.due import first_run
from django_cluster.core.next_run import NEVER, NextRunPlan
from django_cluster.core.recurrence import RESOLUTION, Cron
from django_cluster.models.schedule_timing import ScheduleTiming

RULE = frozenset({"schedule_type", "minutes", "cron", "time_zone", "starts_at", "ends_at"})
"""Columns that say when, and that people write."""

PLAN = frozenset(field.name for field in fields(NextRunPlan))
"""Columns that follow from them."""

WRITTEN_BY_SCHEDULERS = PLAN | {"repeats", "task", "runs", "busy_since", "claimed_until", "last_error", "declared_at"}
"""Columns that a scheduler changes at any moment. What an instance knows of them may be stale when it is saved."""


class SchedulePlanning(ScheduleTiming):
    """What follows from the columns that people write, and what was read of those that a scheduler writes."""

    enabled: Any
    claimed_until: Any
    last_error: Any
    _state: Any

    _read: Mapping[str, Any] = MappingProxyType({})

    def plan_next_run(self, tz: tzinfo | None = None) -> None:
        """Its next run and its anchor, if they do not hold any more, and a clean slate after an error.

        ``tz`` as in ``zone``.
        """
        self.normalize_moments()
        now = timezone.now()
        adding, rewritten = self._state.adding, self.planned_from not in ("", str(self.columns.rule))
        try:
            self._follow_window(now, tz)
            if (plan := self.revise(now, tz)) is not None:
                self.apply_plan(plan)
        except (ValueError, ImportError, OverflowError):
            if self.schedule_type == Cron.code and (rewritten or (adding and self.next_run is None)):
                raise
            # Incomplete: it may be saved so, and the scheduler will say what is missing.
            if adding and self.next_run is None:
                self.next_run = max(now, self.starts_at) if self.starts_at else now
            self.anchor = self.anchor or self.next_run
        self.claimed_until, self.last_error = None, ""

    def _follow_window(self, now: datetime, tz: tzinfo | None) -> None:
        """The start or the end was changed, and not the next run: it goes on, or begins, accordingly."""
        read = self._read
        if not {"next_run", "starts_at", "ends_at"} <= read.keys() or read["next_run"] != self.next_run:
            return
        run: datetime | None = self.next_run
        start, old = self.starts_at, read["starts_at"]
        if run is None:
            if read["ends_at"] != self.ends_at and self.anchor is not None and self.repeats:
                self.local_next_run = ""
        elif start != old:
            waited = old is not None and now < old <= run
            if (start is not None and start > run) or (waited and (start is None or start < old)):
                self._start_anew(now, tz)

    def _start_anew(self, now: datetime, tz: tzinfo | None) -> None:
        zone, rule = self.zone(now, tz), self.rule(tz)
        rule.check()
        self.next_run = first_run(rule, now + RESOLUTION, zone, self.window)
        if self.next_run is None:
            self.local_next_run = NEVER

    def _remember(self, fields: Collection[str] | None = None) -> None:
        """The row as it is now in the database; ``fields``: only these were read anew."""
        here = self.__dict__
        names = ("id", "starts_at", "ends_at", *WRITTEN_BY_SCHEDULERS)
        read = {name: here[name] for name in names if name in here and (fields is None or name in fields)}
        self._read = read if fields is None else {**self._read, **read}

    def _plan_for_update(self, given: set[str]) -> set[str]:
        """Settle the row before some of its columns are saved; the names of the others that have to be saved, too."""
        if not (RULE | PLAN) & given:
            self.normalize_moments()
            return self._clear_error() if given - WRITTEN_BY_SCHEDULERS else set()
        before = {name: getattr(self, name) for name in PLAN}
        error = (self.claimed_until, self.last_error)
        self.plan_next_run()
        changed = any(getattr(self, name) != value for name, value in before.items())
        if changed or error[1]:
            return {*(PLAN if changed else ()), "claimed_until", "last_error"}
        self.claimed_until, self.last_error = error
        return set()

    def _clear_error(self) -> set[str]:
        """After an error: what could not be fired may have been repaired."""
        if not self.__dict__.get("last_error"):
            return set()
        self.claimed_until, self.last_error = None, ""
        return {"claimed_until", "last_error"}
