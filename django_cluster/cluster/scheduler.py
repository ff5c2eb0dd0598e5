"""The scheduler: looks at the schedules once a second, or sooner if one is due sooner."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import DatabaseError, InterfaceError
from django.utils import timezone

from django_cluster.core.liveness import report_progress
from django_cluster.core.outage import Outage
from django_cluster.core.settings import ScheduleSettings
from django_cluster.database import leave_after
from django_cluster.errors import BrokerError
from django_cluster.lifecycle.schedules import Send, Timetable


class Scheduler:
    """Fires the due schedules of one queue; what runs it is its process."""

    def __init__(
        self,
        settings: ScheduleSettings,
        *,
        queue: str,
        site: bool,
        send: Send,
        sent: Send | None = None,
        database: str | None = None,
        broker_database: str | None = None,
        clock: Callable[[], datetime] = timezone.now,
    ) -> None:
        """``site``: whether ``queue`` is named as the site, and so owns the schedules without a cluster.

        ``sent``: see ``Timetable``.
        ``database``: where the schedules are; None asks the router. ``broker_database``: ``Broker.database``.
        ``clock``: aware moments, or naive ones without ``USE_TZ``.
        """
        self._interval = settings.interval
        self._timetable = Timetable(
            settings,
            queue=queue,
            site=site,
            send=send,
            sent=sent,
            database=database,
            broker_database=broker_database,
        )
        self._clock = clock

    def tick(self) -> float:
        """Fire what is due; returns the seconds until there may be something to fire again.

        A schedule that catches up fires once in a tick, and waits for the next like all others. Raises
        ``BrokerUnavailable`` and errors of the database: the due rows are then fired by a later tick.
        """
        done = self._timetable.fire_due(self._clock())
        if done.more:
            return 0.0
        if done.next_due is None:
            return self._interval
        left = (done.next_due - self._clock()).total_seconds()
        return min(self._interval, max(0.0, left))


@dataclass(slots=True)
class NowAndThen:
    """An errand that need not be done each time."""

    act: Callable[[], object]
    every: float = 3600.0
    """Seconds."""
    due_at: float = 0.0
    """Monotonic."""

    def __call__(self) -> float:
        if time.monotonic() >= self.due_at:
            self.act()
            self.due_at = time.monotonic() + self.every
        return self.due_at - time.monotonic()


@dataclass(slots=True)
class Round:
    """What a scheduler does for the queues of one server."""

    errands: Sequence[Callable[[], float]]
    outage: Outage
    due_at: float = 0.0
    """Monotonic; while it is not reached, there is nothing to do."""

    def go(self, *, alone: bool) -> float:
        """Seconds until it is to be gone again. ``alone``: nobody else waits while we do."""
        started = time.monotonic()
        if started < self.due_at:
            return self.due_at - started
        try:
            pause = min(_run_reporting(errand) for errand in self.errands)
            self.outage.over()
        except (DatabaseError, InterfaceError, BrokerError) as error:
            leave_after(error)
            self.outage.failed(error, 0.0 if alone else time.monotonic() - started)
            pause = max(0.0, self.outage.retry_at - time.monotonic())
        self.due_at = time.monotonic() + pause
        return pause


def _run_reporting(errand: Callable[[], float]) -> float:
    """Each errand has the whole of the permitted silence to itself."""
    report_progress()
    return errand()
