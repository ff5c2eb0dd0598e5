"""What the clock on the wall shows in a zone, and when it shows it.

A zone of None means naive datetimes (``USE_TZ = False``): there the wall is all there is. In a zone, moments are
always given back in UTC, because Python compares two datetimes of one zone by their walls, and gets it wrong
where the clock is changed.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

_SECOND = timedelta(seconds=1)


def wall_of(moment: datetime, tz: tzinfo | None) -> datetime:
    """What the clock shows at this moment."""
    return moment if tz is None else moment.astimezone(tz).replace(tzinfo=None)


def moments_of(wall: datetime, tz: tzinfo | None) -> tuple[datetime, ...]:
    """When the clock shows this: once, twice where it is set back, never where it is set forward."""
    if tz is None:
        return (wall,)
    first, second = (wall.replace(tzinfo=tz, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first == second:
        return (first,)
    return (first, second) if first < second else ()


def first_moment_of(wall: datetime, tz: tzinfo | None) -> datetime:
    """When the clock shows this for the first time; if it never does, the first moment after the gap."""
    moments = moments_of(wall, tz)
    return moments[0] if moments else _end_of_gap(wall, tz)


def set_back_soon(moment: datetime, tz: tzinfo | None) -> timedelta:
    """By how much the clock is going to be set back, if it will show this moment's time once more."""
    moments = moments_of(wall_of(moment, tz), tz)
    if len(moments) == 2 and moments[0] == moment:
        return moments[1] - moments[0]
    return timedelta(0)


def _end_of_gap(wall: datetime, tz: tzinfo | None) -> datetime:
    """The moment of the change that skipped this time: halve the span around it until it is found."""
    before, after = (wall.replace(tzinfo=tz, fold=fold).astimezone(UTC) for fold in (1, 0))
    before, after = before.replace(microsecond=0), after.replace(microsecond=0)
    offset = after.astimezone(tz).utcoffset()
    while after - before > _SECOND:
        middle = before + (after - before) // 2
        middle = middle.replace(microsecond=0)
        if middle.astimezone(tz).utcoffset() == offset:
            after = middle
        else:
            before = middle
    return after
