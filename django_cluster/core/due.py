"""What one look at a schedule comes to: which run is due now, and when the next one is.

A *missed* run is one whose time has passed by more than ``LATE``: no cluster was there to see it. What becomes of
those is the schedule's choice (``CatchUp``). Everything here is a function of values.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum
from typing import NamedTuple

from django_cluster.core.recurrence import Recurrence, just_before

LATE = timedelta(minutes=1)
"""A run that is later than this was missed; a cluster that is merely busy, or just replaced, misses none."""


class CatchUp(StrEnum):
    """What becomes of missed runs."""

    ALL = "all"
    """Each is made up for, one at a look."""
    ONCE = "once"
    """One run makes up for all of them."""
    SKIP = "skip"
    """None is made up for. A run that no other follows is late rather than never."""


@dataclass(frozen=True, slots=True)
class Window:
    """From when, and until when, there are runs at all; both ends belong to it, None leaves it open."""

    start: datetime | None = None
    end: datetime | None = None

    def clip(self, moment: datetime | None) -> datetime | None:
        """This moment, unless it lies after the end."""
        return None if moment is None or (self.end is not None and moment > self.end) else moment


ALWAYS = Window()


class Look(NamedTuple):
    """What one look at a schedule finds."""

    fire: datetime | None
    """The occurrence to fire now, if one is due."""
    next_run: datetime | None
    """When it is due after that; None = never again."""


def first_run(rule: Recurrence, not_before: datetime, tz: tzinfo | None, window: Window = ALWAYS) -> datetime | None:
    """The first occurrence at this moment or later; None if there is none."""
    if window.start is not None:
        not_before = max(not_before, window.start)
    return window.clip(rule.next_after(just_before(not_before), tz))


def look(
    rule: Recurrence,
    next_run: datetime,
    now: datetime,
    tz: tzinfo | None,
    *,
    catch_up: CatchUp,
    window: Window = ALWAYS,
    busy: bool = False,
) -> Look:
    """Fire what is due, and step on. However long ago ``next_run`` is, this is one step.

    ``busy``: the last run has not ended, and this schedule wants no two at once; what has come due meanwhile is left
    out, whatever ``catch_up`` says.
    """
    if next_run > now:
        return Look(None, next_run)
    rule = rule.through(next_run, tz)
    if window.start is not None and next_run < window.start:
        return Look(None, first_run(rule, window.start, tz, window))
    if busy:
        return Look(None, window.clip(rule.next_after(now, tz)))
    if catch_up is CatchUp.SKIP and next_run < now - LATE:
        following = first_run(rule, now - LATE, tz)
        if following is not None:
            next_run = following
    if next_run > now or window.clip(next_run) is None:
        return Look(None, window.clip(next_run))
    since = now if catch_up is CatchUp.ONCE else next_run
    return Look(next_run, window.clip(rule.next_after(since, tz)))
