"""Unix times and datetimes: which are meant, which can be stored, and one as the other.

What depends on Django's settings is ``LocalTime.zone``. Local time in a given zone is the subject of ``local_time``.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from typing import ClassVar

from django_cluster.core.local_time import instants_of

MOST_SECONDS = 1 << 38
"""The largest number of seconds of a duration or a Unix time (the year 9999 is about 2.5e11)."""
LAST_MOMENT = 253_402_128_000.0
"""Unix time shortly before the end of the year 9999: a moment that every zone's calendar has."""
LAST_STORED_MOMENT = 1 << 33
"""Unix time in the year 2242. What happened cannot be later, and every database can write it."""


class LocalTime:
    """The time zone of naive datetimes. The app sets it when Django starts, because the core does not import Django."""

    zone: ClassVar[Callable[[], tzinfo | None]] = staticmethod(lambda: None)
    """Returns the zone; None without ``USE_TZ``: the time zone of the process, which Django sets to ``TIME_ZONE``."""


class UnclearLocalTime(ValueError):
    """A local time that the clock of its zone never shows, or shows twice."""


def is_seconds(value: object) -> bool:
    """Whether it is a finite number that can be a duration or a moment; True and False are none."""
    return (type(value) is float or type(value) is int) and -MOST_SECONDS <= value <= MOST_SECONDS


def is_unix_time(value: object) -> bool:
    """Whether it is the Unix time of a moment from 1970 to 9999."""
    return (type(value) is float or type(value) is int) and 0 <= value <= LAST_MOMENT


def nearest_unix_time(value: float) -> float:
    """The Unix time, or the nearest one from 1970 to 9999; 0 for NaN."""
    return min(max(value, 0.0), LAST_MOMENT) if value == value else 0.0


def storable_moment(unix_time: float) -> float:
    """A Unix time of something that happened, which every database can write; 0 stands for nonsense."""
    return unix_time if 0 <= unix_time < LAST_STORED_MOMENT else 0.0


def from_unix_time(seconds: float) -> datetime:
    """The moment as a row returns it: in UTC with ``USE_TZ``, else naive. The nearest one from 1970 to 9999."""
    moment = datetime.fromtimestamp(nearest_unix_time(seconds), UTC)
    return moment if LocalTime.zone() is not None else naive(moment)


def to_unix_time(moment: datetime) -> float:
    """The Unix time of a moment of a row, be it aware or, without ``USE_TZ``, naive."""
    zone = LocalTime.zone() if moment.tzinfo is None else None
    return (moment if zone is None else moment.replace(tzinfo=zone)).timestamp()


def naive(moment: datetime) -> datetime:
    """The local time of the process at an aware moment; at either end of the calendar, the time of UTC."""
    try:
        return moment.astimezone().replace(tzinfo=None)
    except (OverflowError, ValueError):
        return moment.astimezone(UTC).replace(tzinfo=None)


def aware(value: datetime) -> datetime:
    """An aware datetime for a naive one, as a form of Django reads it; unchanged where there is no time zone.

    Raises ``UnclearLocalTime`` for a local time that does not exist, or exists twice.
    """
    zone = LocalTime.zone()
    if zone is None:
        return value
    found = instants_of(value.replace(fold=0), zone)
    if len(found) == 1 or (found and value.fold):
        return found[-1]
    raise UnclearLocalTime(
        f"{value} is shown {'twice' if found else 'never'} by the clock of {zone}, which is changed then:"
        " give a datetime with a time zone."
    )
