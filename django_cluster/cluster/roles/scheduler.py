"""The scheduler: dispatches due schedules once a second, or sooner if one is due sooner."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import DatabaseError, InterfaceError
from django.utils import timezone

from django_cluster.core.backoff import ReconnectBackoff
from django_cluster.core.liveness import report_progress
from django_cluster.core.settings import ScheduleSettings
from django_cluster.database.connection import close_after_error
from django_cluster.errors import BrokerError, StoreUnavailable
from django_cluster.schedules.dispatcher import ScheduleDispatcher, Send


class Scheduler:
    """Dispatches the due schedules of one queue."""

    def __init__(
        self,
        settings: ScheduleSettings,
        *,
        queue: str,
        is_default: bool,
        send: Send,
        sent: Send | None = None,
        database: str | None = None,
        broker_database: str | None = None,
        clock: Callable[[], datetime] = timezone.now,
    ) -> None:
        """``site``: whether ``queue`` is named as the site, and so owns the schedules without a cluster.

        ``sent``: see ``ScheduleDispatcher``.
        ``database``: where the schedules are; None asks the router. ``broker_database``: ``Broker.database``.
        ``clock``: aware moments, or naive ones without ``USE_TZ``.
        """
        self._interval = settings.interval
        self._dispatcher = ScheduleDispatcher(
            settings,
            queue=queue,
            is_default=is_default,
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
        done = self._dispatcher.fire_due(self._clock())
        if done.more:
            return 0.0
        if done.next_due is None:
            return self._interval
        left = (done.next_due - self._clock()).total_seconds()
        return min(self._interval, max(0.0, left))


@dataclass(slots=True)
class Periodic:
    """A job that is done every ``every`` seconds."""

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
class ServerLoop:
    """What a scheduler does for the queues of one server."""

    jobs: Sequence[Callable[[], float]]
    backoff: ReconnectBackoff
    due_at: float = 0.0
    """Monotonic time of the next run."""

    def run(self, *, alone: bool) -> float:
        """Run all jobs if they are due; returns the seconds until the next run. ``alone``: it is the only loop."""
        started = time.monotonic()
        if started < self.due_at:
            return self.due_at - started
        try:
            pause = min(_run_job(job) for job in self.jobs)
            self.backoff.recovered()
        except (DatabaseError, InterfaceError, BrokerError, StoreUnavailable) as error:
            close_after_error(error)
            self.backoff.failed(error, 0.0 if alone else time.monotonic() - started)
            pause = max(0.0, self.backoff.retry_at - time.monotonic())
        self.due_at = time.monotonic() + pause
        return pause


def _run_job(job: Callable[[], float]) -> float:
    """Report progress before each job, so that ``unresponsive_timeout`` holds for each alone."""
    report_progress()
    return job()
