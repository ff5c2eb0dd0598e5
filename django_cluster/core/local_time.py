"""Local time in a zone ↔ instants.

A zone of None means naive datetimes (``USE_TZ = False``): local time is all there is. In a zone, moments are
always given back in UTC, because Python compares two datetimes of one zone by their local times, and gets it wrong
where the clock is changed.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

_SECOND = timedelta(seconds=1)


def to_local(moment: datetime, tz: tzinfo | None) -> datetime:
    """The local time at this instant, naive; without a zone, the same datetime."""
    return moment if tz is None else moment.astimezone(tz).replace(tzinfo=None)


def instants_of(local: datetime, tz: tzinfo | None) -> tuple[datetime, ...]:
    """The instants with this local time, in UTC: one, two where clocks are set back, none where they are set
    forward."""
    if tz is None:
        return (local,)
    first, second = (local.replace(tzinfo=tz, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first == second:
        return (first,)
    return (first, second) if first < second else ()


def first_instant_of(local: datetime, tz: tzinfo | None) -> datetime:
    """The first instant with this local time; if there is none, the first instant after the gap."""
    moments = instants_of(local, tz)
    return moments[0] if moments else _end_of_gap(local, tz)


def repeats_after(moment: datetime, tz: tzinfo | None) -> timedelta:
    """The time until the local time of this instant is repeated, because clocks are set back; 0 if it is not."""
    moments = instants_of(to_local(moment, tz), tz)
    if len(moments) == 2 and moments[0] == moment:
        return moments[1] - moments[0]
    return timedelta(0)


def _end_of_gap(local: datetime, tz: tzinfo | None) -> datetime:
    """The instant of the change that skips this local time, found by bisection."""
    before, after = (local.replace(tzinfo=tz, fold=fold).astimezone(UTC) for fold in (1, 0))
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
