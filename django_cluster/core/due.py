"""Which run of a schedule is due now, and when the next one is.

A *missed* run is one whose time has passed by more than ``MISSED_AFTER``: no cluster was there to see it. What becomes
of those is the schedule's choice (``CatchUp``). Everything here is a function of values.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum
from typing import NamedTuple

from django_cluster.core.recurrence import RESOLUTION, Recurrence, just_before

MISSED_AFTER = timedelta(minutes=1)
"""A run that is later than this was missed; a cluster that is merely busy, or just replaced, misses none."""


class CatchUp(StrEnum):
    """What happens to missed runs."""

    ALL = "all"
    """Each is made up for, one at a time."""
    ONCE = "once"
    """One run makes up for all of them."""
    SKIP = "skip"
    """None is made up for, except a run that no other follows."""


@dataclass(frozen=True, slots=True)
class RunWindow:
    """From when, and until when, there are runs at all; both ends belong to it, None leaves it open."""

    start: datetime | None = None
    end: datetime | None = None

    def clip(self, moment: datetime | None) -> datetime | None:
        """This moment, unless it lies after the end."""
        return None if moment is None or (self.end is not None and moment > self.end) else moment


UNBOUNDED = RunWindow()


class DueDecision(NamedTuple):
    """Whether a run is due, and when the next one is."""

    fire: datetime | None
    """The occurrence to fire now, if one is due."""
    next_run: datetime | None
    """When it is due after that; None = never again."""
    skipped: tuple[datetime, datetime] | None = None
    """Missed runs that are not made up for, because there are too many: from this one to the one before that."""


def first_run(
    rule: Recurrence, not_before: datetime, tz: tzinfo | None, window: RunWindow = UNBOUNDED
) -> datetime | None:
    """The first occurrence at this moment or later; None if there is none."""
    if window.start is not None:
        not_before = max(not_before, window.start)
    return window.clip(rule.next_after(just_before(not_before), tz))


def decide_due(
    rule: Recurrence,
    next_run: datetime,
    now: datetime,
    tz: tzinfo | None,
    *,
    catch_up: CatchUp,
    window: RunWindow = UNBOUNDED,
    busy: bool = False,
    limit: int | None = None,
) -> DueDecision:
    """Fire what is due, and step on. However long ago ``next_run`` is, this is one step.

    ``busy``: the last run has not ended, and this schedule must not overlap; runs that are due meanwhile are
    skipped, whatever ``catch_up`` says. ``limit``: how many missed runs are made up for at most, the newest.
    """
    if next_run > now:
        return DueDecision(None, next_run)
    rule = rule.anchored_at(next_run, tz)
    if window.start is not None and next_run < window.start:
        return DueDecision(None, first_run(rule, window.start, tz, window))
    if busy:
        return DueDecision(None, window.clip(rule.next_after(now, tz)))
    if catch_up is CatchUp.SKIP and next_run < now - MISSED_AFTER:
        following = first_run(rule, now - MISSED_AFTER, tz)
        if following is not None:
            next_run = following
    if next_run > now or window.clip(next_run) is None:
        return DueDecision(None, window.clip(next_run))
    since, first = now if catch_up is CatchUp.ONCE else next_run, next_run
    if catch_up is CatchUp.ALL and limit is not None and next_run < now - MISSED_AFTER:
        until = now - MISSED_AFTER if window.end is None else min(now - MISSED_AFTER, window.end + RESOLUTION)
        since = next_run = first_of_newest(rule, next_run, until, tz, limit)
    return DueDecision(
        next_run, window.clip(rule.next_after(since, tz)), (first, next_run) if next_run != first else None
    )


def first_of_newest(rule: Recurrence, first: datetime, until: datetime, tz: tzinfo | None, count: int) -> datetime:
    """The occurrence with which the last ``count`` before ``until`` begin; ``first`` if there are no more since."""
    last = first
    for _ in range(count):
        following = rule.next_after(last, tz)
        if following is None or following >= until:
            return first
        last = following
    # There are more. So many took this long there; at the end they may lie closer, or further apart.
    span = last - first
    while True:
        found: deque[datetime] = deque(maxlen=count)
        moment = first_run(rule, max(first, until - span), tz)
        while moment is not None and moment < until:
            found.append(moment)
            moment = rule.next_after(moment, tz)
        if len(found) == count:
            return found[0]
        span *= 2
