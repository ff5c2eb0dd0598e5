"""When a schedule is due, as its row tells it: the arithmetic of ``core/recurrence.py`` on its columns."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from copy import copy
from dataclasses import asdict
from datetime import datetime, tzinfo
from typing import Any, ClassVar, Self
from zoneinfo import ZoneInfo

from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_cluster.core import recurrence
from django_cluster.core.due import RunWindow, first_run
from django_cluster.core.local_time import to_local
from django_cluster.core.next_run import NEVER, IntendedTime, NextRunPlan, RuleText, ScheduleColumns, revise, zone_name
from django_cluster.core.settings.named_values import time_zone as zone_type
from django_cluster.core.time import naive
from django_cluster.models.schedule_description import ScheduleFacts, describe_rule
from django_cluster.models.whole_number import require_whole


def type_choices() -> list[tuple[str, Any]]:
    """Every schedule type that is registered now; read at run time, so that a new one needs no migration."""
    return [(kind.code, _(kind.label)) for kind in recurrence.types()]


MOMENTS = frozenset({"next_run", "anchor", "starts_at", "ends_at"})
"""The columns that hold moments which people give."""
COERCED = (*sorted(MOMENTS), "minutes", "repeats")
"""Columns that the plan reads, and for which people may give text."""


class ScheduleTiming:
    """The columns that say when, and what follows from them."""

    schedule_type: Any
    minutes: Any
    repeats: Any
    cron: Any
    next_run: Any
    anchor: Any
    time_zone: Any
    starts_at: Any
    ends_at: Any
    local_next_run: Any
    local_anchor: Any
    planned_from: Any

    _meta: ClassVar[Any]

    default_zone: ClassVar[Callable[[], tzinfo | None]] = staticmethod(timezone.get_default_timezone)
    """Returns the time zone of schedules that name none; the app replaces it when Django starts."""

    def rule(self, tz: tzinfo | None = None) -> recurrence.Recurrence:
        """When it is due; ``tz`` as in ``zone``. Raises ``ValueError`` for an unknown type."""
        now = timezone.now()
        return self.columns.rule_with_anchor(now, self.zone(self.anchor or self.next_run or now, tz))

    @property
    def columns(self) -> ScheduleColumns:
        """What this row says of when it runs."""
        return ScheduleColumns(
            rule=RuleText(self.schedule_type, self.minutes, self.cron or "", self.time_zone or ""),
            next_run=self.next_run,
            anchor=self.anchor,
            local_next_run=self.local_next_run,
            local_anchor=self.local_anchor,
            planned_from=self.planned_from,
            window=self.window,
        )

    def revise(self, now: datetime, tz: tzinfo | None = None) -> NextRunPlan | None:
        """What this row should say of its next run; None if what it says holds. ``tz`` as in ``zone``.

        Raises ``ValueError``, ``ImportError`` or ``OverflowError`` for a rule that makes no sense.
        """
        return revise(self.columns, now, self.zone(now, tz))

    def local_text_of_next_run(self) -> str:
        """What the clock of its zone shows at its next run; empty if there is no such zone."""
        if self.next_run is None:
            return NEVER
        with suppress(ValueError, OverflowError):
            zone = self.zone(self.next_run)
            return str(IntendedTime(to_local(self.next_run, zone), self.next_run, zone_name(zone)))
        return ""

    def apply_plan(self, plan: NextRunPlan) -> None:
        """Let the columns say this."""
        for name, value in asdict(plan).items():
            setattr(self, name, value)

    def _as_planned(self, now: datetime, tz: tzinfo | None) -> Self:
        """A copy that says what this row should say; what makes no sense, it says as it is."""
        row = copy(self)
        with suppress(ValueError, ImportError, OverflowError):
            if (plan := row.revise(now, tz)) is not None:
                row.apply_plan(plan)
        return row

    def normalize_moments(self) -> None:
        """Let moments that were given be what the columns hold: aware with ``USE_TZ``, else naive.

        Either is the same moment on the clock of Django's ``TIME_ZONE``; of a naive one, Django warns. Text of moments
        and numbers is read as Django does.
        """
        for name in COERCED:
            if isinstance(text := self.__dict__.get(name), str):
                setattr(self, name, self._meta.get_field(name).to_python(text))
        for name in ("minutes", "repeats"):
            if (number := self.__dict__.get(name)) is not None and type(number) is not int:
                setattr(self, name, require_whole(name, number))
        for name in ("args", "kwargs"):
            if (value := self.__dict__.get(name)) is not None and not isinstance(value, str):
                setattr(self, name, str(value))
        zones = timezone.is_aware(timezone.now())
        for name in MOMENTS:
            moment = self.__dict__.get(name)  # a column that was not loaded is left alone
            if not isinstance(moment, datetime) or timezone.is_aware(moment) == zones:
                continue
            setattr(self, name, self._meta.get_field(name).get_prep_value(moment) if zones else naive(moment))

    @property
    def window(self) -> RunWindow:
        """From when and until when there are runs at all."""
        return RunWindow(self.starts_at, self.ends_at)

    def zone(self, moment: datetime, tz: tzinfo | None = None) -> tzinfo | None:
        """The time zone for an aware moment: the row's own, else ``tz``, else the project's; None for a naive moment.

        Raises ``ValueError`` for a zone of its own that does not exist.
        """
        if not timezone.is_aware(moment):
            return None
        if self.time_zone:
            return zone_named(self.time_zone)
        return tz or type(self).default_zone() or timezone.get_default_timezone()

    def calculate_next_run(self, next_run: datetime | None = None, tz: tzinfo | None = None) -> datetime | None:
        """The run that follows ``next_run`` (or the one that is next); ``tz`` as in ``zone``."""
        now = timezone.now()
        row = self._as_planned(now, tz)
        moment = next_run or row.next_run or now
        zone = row.zone(moment, tz)
        return row._following(moment, zone, row.rule(tz))

    def _following(self, moment: datetime, zone: tzinfo | None, rule: recurrence.Recurrence) -> datetime | None:
        rule.check()
        following = rule.anchored_at(moment, zone).next_after(moment, zone)
        if self.starts_at is not None and following is not None and following < self.starts_at:
            return first_run(rule, self.starts_at, zone, self.window)
        return self.window.clip(following)

    def upcoming(self, count: int = 5, tz: tzinfo | None = None) -> list[datetime]:
        """The next runs, as far as they are known: nothing for a schedule that is finished or makes no sense.

        Whether it is enabled does not matter.
        """
        found: list[datetime] = []
        if self.repeats > 0:
            count = min(count, self.repeats)
        try:
            if self.repeats == 0 or self.next_run is None:
                return []
            row = self._as_planned(timezone.now(), tz)
            following = row.next_run
            if following is None or row.window.clip(following) is None:
                return []
            zone = row.zone(following, tz)
            if row.starts_at is not None and following < row.starts_at:
                following = first_run(row.rule(tz), row.starts_at, zone, row.window)
            while following is not None and len(found) < count:
                found.append(following)
                following = row._following(following, zone, row.rule(tz))
        except (ValueError, ImportError, OverflowError):
            pass
        return found

    def describe(self, tz: tzinfo | None = None) -> str:
        """The rule in words, in the active language: "every day at 02:30 (Europe/Amsterdam)"."""
        moment = self.anchor or self.next_run or timezone.now()
        try:
            zone = self.zone(moment, tz)
        except ValueError as error:
            return str(error)
        label = dict(type_choices()).get(self.schedule_type, self.schedule_type)
        try:
            local = self.rule(tz).local_anchor if self.schedule_type in dict(type_choices()) else None
            return describe_rule(ScheduleFacts(self.schedule_type, moment, zone, self.minutes, self.cron, local), label)
        except (OverflowError, ValueError):
            # Its time lies beyond the calendar of its zone.
            return f"{gettext('This value cannot be shown:')} {moment.isoformat(' ', 'minutes')} ({zone})"

    def start_at_next_match(self, tz: tzinfo | None = None) -> None:
        """Let the first run be the one that the rule names next; the one of a cron expression, as a rule."""
        now = timezone.now()
        self.anchor = None
        self.rule(tz).check()
        self.next_run = first_run(self.rule(tz), now + recurrence.RESOLUTION, self.zone(now, tz), self.window)


def zone_named(name: str) -> tzinfo:
    """Raises ``ValueError`` unless this is a zone, and there are zones at all."""
    check_zone(name)
    return ZoneInfo(name)


def check_zone(name: str | None) -> None:
    """Raise ``ValueError`` unless this is a zone, and there are zones at all."""
    if not name:
        return
    if timezone.is_naive(timezone.now()):
        raise ValueError("Without USE_TZ there is one clock only: a schedule cannot have a time zone of its own.")
    try:
        zone_type().convert(name)
    except ValueError:
        raise ValueError(f"{name!r} is not a time zone; give a name such as 'Europe/Amsterdam'.") from None
