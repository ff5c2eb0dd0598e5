"""When a schedule is due next: one frozen class for each type, in a registry by code.

Days, weeks, months and years are counted in local time, from an *anchor*: the occurrences of a schedule are
a fixed grid (the anchor plus n periods), never "the last one and a bit". So a job of 02:30 that
had to run at 03:00 in the spring is back at 02:30 the next day, and one of the 31st is back on the 31st after
February. Minutes and hours are elapsed time. Everything here is a function of values.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from calendar import monthrange
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import ClassVar, Self

from django_cluster.core.cron import CronExpression
from django_cluster.core.local_time import first_instant_of, instants_of, to_local

RESOLUTION = timedelta(microseconds=1)
LATEST_YEARS = 9900
EARLIEST_YEARS = 1000
"""A year: what leaves the calendar before it does so at its beginning (year 1), else at its end (year 9999)."""


def just_before(moment: datetime) -> datetime:
    """The moment before this one; the first moment of the calendar has none."""
    return max(moment, datetime.min.replace(tzinfo=moment.tzinfo) + RESOLUTION) - RESOLUTION


@dataclass(frozen=True, kw_only=True)
class Recurrence(ABC):
    """A rule of repetition. Naive moments go with a zone of None, aware ones with a zone."""

    code: ClassVar[str]
    label: ClassVar[str]

    anchor: datetime
    """An occurrence from which all others are counted."""
    minutes: int | None = None
    cron: str | None = None
    local_anchor: datetime | None = None
    """The local time that is meant by the anchor, naive, where it is known: the rules of the zone may have changed, so
    that the clock shows another. None = what the clock shows."""

    on_local_clock: ClassVar[bool] = False
    """Whether it names local times, so that its moments follow from the rules of the zone."""

    def check(self) -> None:  # noqa: B027  most rules need nothing
        """Raise ``ValueError`` if something that the rule needs is missing or wrong."""

    @abstractmethod
    def next_after(self, moment: datetime, tz: tzinfo | None) -> datetime | None:
        """The first occurrence later than ``moment``; None if there is none."""

    def includes(self, moment: datetime, tz: tzinfo | None) -> bool:
        """Whether this very moment is an occurrence."""
        return self.next_after(just_before(moment), tz) == moment

    def anchored_at(self, moment: datetime, tz: tzinfo | None) -> Self:
        """This rule, counted from ``moment`` if that is not one of its occurrences."""
        return self if self.includes(moment, tz) else replace(self, anchor=moment, local_anchor=None)

    def local_of(self, moment: datetime, tz: tzinfo | None) -> datetime:
        """The local time that is meant by this occurrence, naive: what the clock shows, unless that time was skipped.

        A daily run of 02:30 takes place at 03:00 when the clock is set from 02:00 to 03:00; 02:30 is meant.
        """
        shown, before = to_local(moment, tz), to_local(just_before(moment), tz)
        if not self.on_local_clock or shown - before <= RESOLUTION:
            return shown
        anchor = self.local_anchor or to_local(self.anchor, tz)
        meant = replace(self, anchor=anchor, local_anchor=None).next_after(before, None)
        return meant if meant is not None and meant < shown else shown

    def at_local(self, local: datetime, moment: datetime, tz: tzinfo | None) -> datetime:
        """When the occurrence is that was expected at ``moment``, and by which this local time is meant.

        That is ``moment`` itself, unless the rules of the zone have changed since.
        """
        if not self.on_local_clock or moment in instants_of(local, tz):
            return moment
        return first_instant_of(local, tz)


class Once(Recurrence):
    code = "O"
    label = "Once"

    def next_after(self, moment: datetime, tz: tzinfo | None) -> datetime | None:
        return self.anchor if self.anchor > moment else None


class _Elapsed(Recurrence):
    """Every n minutes of elapsed time, whatever local time does."""

    @property
    def period(self) -> timedelta:
        return timedelta(minutes=self.minutes or 0)

    def includes(self, moment: datetime, tz: tzinfo | None) -> bool:
        anchor, then = (each if tz is None else each.astimezone(UTC) for each in (self.anchor, moment))
        return not (then - anchor) % self.period

    def next_after(self, moment: datetime, tz: tzinfo | None) -> datetime | None:
        anchor, since = (each if tz is None else each.astimezone(UTC) for each in (self.anchor, moment))
        try:
            return anchor + ((since - anchor) // self.period + 1) * self.period
        except OverflowError:
            return None


class Minutes(_Elapsed):
    code = "I"
    label = "Minutes"

    def check(self) -> None:
        if not isinstance(self.minutes, int) or self.minutes < 1:
            raise ValueError("A schedule of the type minutes needs a number of minutes: 1 or more.")


class Hourly(_Elapsed):
    code = "H"
    label = "Hourly"

    @property
    def period(self) -> timedelta:
        return timedelta(hours=1)


class _LocalGrid(Recurrence):
    """A grid of local times."""

    on_local_clock = True

    @abstractmethod
    def slot(self, anchor: datetime, number: int) -> datetime:
        """The time of the ``number``-th occurrence after (or, if negative, before) the anchor."""

    @abstractmethod
    def slots_between(self, anchor: datetime, local: datetime) -> int:
        """About how many occurrences lie between; may be wrong by one."""

    def includes(self, moment: datetime, tz: tzinfo | None) -> bool:
        """Asked for each run, and mostly of one that is."""
        with suppress(OverflowError, ValueError):
            anchor, local = self.local_anchor or to_local(self.anchor, tz), to_local(moment, tz)
            if self.slot(anchor, self.slots_between(anchor, local)) == local and first_instant_of(local, tz) == moment:
                return True
        return super().includes(moment, tz)

    def next_after(self, moment: datetime, tz: tzinfo | None) -> datetime | None:
        try:
            anchor = self.local_anchor or to_local(self.anchor, tz)
            # One back for the estimate, and one for a clock that was changed in between.
            number = self.slots_between(anchor, to_local(moment, tz)) - 2
        except OverflowError:
            reject_before_calendar(moment)
            return None
        while True:
            try:
                due = first_instant_of(self.slot(anchor, number), tz)
            except (OverflowError, ValueError):  # of ``timedelta``, and of ``replace``
                if moment.year > EARLIEST_YEARS:
                    return None
            else:
                if due > moment:
                    return due
            number += 1


def reject_before_calendar(moment: datetime) -> None:
    """Raise ``ValueError`` for a moment at the beginning of the calendar; after its end, there are simply no more."""
    if moment.year <= EARLIEST_YEARS:
        raise ValueError("The schedule begins before the first day that the calendar of its time zone has.")


class Daily(_LocalGrid):
    code = "D"
    label = "Daily"
    days: ClassVar[int] = 1

    def slot(self, anchor: datetime, number: int) -> datetime:
        return anchor + timedelta(days=self.days * number)

    def slots_between(self, anchor: datetime, local: datetime) -> int:
        return (local - anchor).days // self.days


class Weekly(Daily):
    code = "W"
    label = "Weekly"
    days = 7


class Biweekly(Daily):
    code = "BW"
    label = "Biweekly"
    days = 14


class Monthly(_LocalGrid):
    """On the day of the anchor, or on the last one of a month that is shorter."""

    code = "M"
    label = "Monthly"
    months: ClassVar[int] = 1

    def slot(self, anchor: datetime, number: int) -> datetime:
        year, month = divmod(anchor.year * 12 + anchor.month - 1 + self.months * number, 12)
        return anchor.replace(year=year, month=month + 1, day=min(anchor.day, monthrange(year, month + 1)[1]))

    def slots_between(self, anchor: datetime, local: datetime) -> int:
        return ((local.year - anchor.year) * 12 + local.month - anchor.month) // self.months


class Bimonthly(Monthly):
    code = "BM"
    label = "Bimonthly"
    months = 2


class Quarterly(Monthly):
    code = "Q"
    label = "Quarterly"
    months = 3


class Yearly(Monthly):
    code = "Y"
    label = "Yearly"
    months = 12


class Cron(Recurrence):
    code = "C"
    label = "Cron"
    on_local_clock = True

    @property
    def expression(self) -> CronExpression:
        return CronExpression((self.cron or "").strip())

    def check(self) -> None:
        self.expression.check()

    def next_after(self, moment: datetime, tz: tzinfo | None) -> datetime | None:
        try:
            return self.expression.next_after(moment, tz)
        except OverflowError:
            reject_before_calendar(moment)
            return None
        except ValueError:
            if moment.year < LATEST_YEARS:
                raise
            return None  # croniter has looked for it until the end of the calendar

    def anchored_at(self, moment: datetime, tz: tzinfo | None) -> Self:
        """The expression alone says when: nothing is counted from the anchor."""
        return self

    def at_local(self, local: datetime, moment: datetime, tz: tzinfo | None) -> datetime:
        """See ``Recurrence.at_local``; an occurrence of an expression for every hour remains one."""
        if self.expression.every_hour and to_local(moment, tz) != local:
            return self.next_after(just_before(moment), tz) or moment
        return super().at_local(local, moment, tz)


_TYPES: dict[str, type[Recurrence]] = {}


def register(kind: type[Recurrence]) -> type[Recurrence]:
    """Make a schedule type known under its code (two characters at most); call it while Django starts."""
    if not 1 <= len(kind.code) <= 2:
        raise ValueError(f"The code of a schedule type has one or two characters, not {kind.code!r}.")
    if _TYPES.setdefault(kind.code, kind) is not kind:
        raise ValueError(f"The schedule type {kind.code!r} is taken by {_TYPES[kind.code].__qualname__}.")
    return kind


BUILT_IN: tuple[type[Recurrence], ...] = (
    *(Once, Minutes, Hourly, Daily, Weekly, Biweekly),
    *(Monthly, Bimonthly, Quarterly, Yearly, Cron),
)
for _kind in BUILT_IN:
    register(_kind)


def types() -> tuple[type[Recurrence], ...]:
    """All types that are known now, in the order in which they were registered."""
    return tuple(_TYPES.values())


def recurrence(
    code: str,
    *,
    anchor: datetime,
    minutes: int | None = None,
    cron: str | None = None,
    local_anchor: datetime | None = None,
) -> Recurrence:
    """The rule of a schedule; raises ``ValueError`` for an unknown type."""
    if code not in _TYPES:
        raise ValueError(f"{code!r} is not a schedule type; known are {', '.join(_TYPES)}.")
    return _TYPES[code](anchor=anchor, minutes=minutes, cron=cron, local_anchor=local_anchor)
