"""When a schedule is due, as its row tells it: the arithmetic of ``core/recurrence.py`` on its columns."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_cluster.core import recurrence
from django_cluster.core.due import Window, first_run
from django_cluster.core.values import time_zone as kind_of_zone
from django_cluster.models.wording import Told, in_words


def type_choices() -> list[tuple[str, Any]]:
    """Every schedule type that is registered now; read at run time, so that a new one needs no migration."""
    return [(kind.code, _(kind.label)) for kind in recurrence.types()]


MOMENTS = frozenset({"next_run", "anchor", "starts_at", "ends_at"})
"""The columns that hold moments which people give."""


class Timing:
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

    _meta: ClassVar[Any]

    zone_of_the_project: ClassVar[Callable[[], tzinfo | None]] = staticmethod(timezone.get_default_timezone)
    """In which schedules without a zone of their own are reckoned; the app says so when Django starts."""

    def rule(self) -> recurrence.Recurrence:
        """When it is due; raises ``ValueError`` for an unknown type."""
        anchor = self.anchor or self.next_run or timezone.now()
        return recurrence.recurrence(self.schedule_type, anchor=anchor, minutes=self.minutes, cron=self.cron)

    def keep_moments_as_the_project_does(self) -> None:
        """Let moments that were given be what the columns hold: aware with ``USE_TZ``, else naive.

        Either is the same moment on the clock of Django's ``TIME_ZONE``; of a naive one, Django warns.
        """
        zones = timezone.is_aware(timezone.now())
        for name in MOMENTS:
            moment = self.__dict__.get(name)  # a column that was not loaded is left alone
            if not isinstance(moment, datetime) or timezone.is_aware(moment) == zones:
                continue
            setattr(self, name, self._meta.get_field(name).get_prep_value(moment) if zones else naive(moment))

    @property
    def window(self) -> Window:
        """From when and until when there are runs at all."""
        return Window(self.starts_at, self.ends_at)

    def zone(self, moment: datetime, tz: tzinfo | None = None) -> tzinfo | None:
        """In which to reckon an aware moment: its own, else ``tz``, else the project's. A naive one needs none.

        Raises ``ValueError`` for a zone of its own that does not exist.
        """
        if not timezone.is_aware(moment):
            return None
        if self.time_zone:
            check_zone(self.time_zone)
            return ZoneInfo(self.time_zone)
        return tz or type(self).zone_of_the_project() or timezone.get_default_timezone()

    def calculate_next_run(self, next_run: datetime | None = None, tz: tzinfo | None = None) -> datetime | None:
        """The run that follows ``next_run`` (or the one that is next); ``tz`` as in ``zone``."""
        moment = next_run or self.next_run or timezone.now()
        zone = self.zone(moment, tz)
        rule = self.rule()
        rule.check()
        following = rule.through(moment, zone).next_after(moment, zone)
        if self.starts_at is not None and following is not None and following < self.starts_at:
            return first_run(rule, self.starts_at, zone, self.window)
        return self.window.clip(following)

    def upcoming(self, count: int = 5, tz: tzinfo | None = None) -> list[datetime]:
        """The next runs, as far as they are known: nothing for a schedule that is finished or makes no sense.

        Whether it is enabled does not matter.
        """
        found: list[datetime] = []
        following = self.next_run
        if self.repeats > 0:
            count = min(count, self.repeats)
        try:
            if self.repeats == 0 or following is None or self.window.clip(following) is None:
                return []
            if self.starts_at is not None and following < self.starts_at:
                following = first_run(self.rule(), self.starts_at, self.zone(following, tz), self.window)
            while following is not None and len(found) < count:
                found.append(following)
                following = self.calculate_next_run(following, tz)
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
            return in_words(Told(self.schedule_type, moment, zone, self.minutes, self.cron), label)
        except (OverflowError, ValueError):
            # Its time lies beyond the calendar of its zone.
            return f"{gettext('This value cannot be shown:')} {moment.isoformat(' ', 'minutes')} ({zone})"

    def start_with_the_expression(self, tz: tzinfo | None = None) -> None:
        """Let the first run be the one that the rule names next; the one of a cron expression, as a rule."""
        now = timezone.now()
        self.anchor = None
        self.rule().check()
        self.next_run = first_run(self.rule(), now + recurrence.RESOLUTION, self.zone(now, tz), self.window)


def naive(moment: datetime) -> datetime:
    """What the clock of Django's ``TIME_ZONE`` shows; at either end of the calendar, what the clock of UTC does."""
    try:
        return timezone.make_naive(moment, timezone.get_default_timezone())
    except OverflowError:
        return timezone.make_naive(moment, UTC)


def check_zone(name: str | None) -> None:
    """Raise ``ValueError`` unless this is a zone, and there are zones at all."""
    if not name:
        return
    if timezone.is_naive(timezone.now()):
        raise ValueError("Without USE_TZ there is one clock only: a schedule cannot have a time zone of its own.")
    try:
        kind_of_zone().convert(name)
    except ValueError:
        raise ValueError(f"{name!r} is not a time zone; give a name such as 'Europe/Amsterdam'.") from None
