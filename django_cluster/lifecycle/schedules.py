"""Standing orders → packages: what is due is claimed, sent, and stepped on, many at a time.

Each due time has one winner among any number of clusters (``claims.py``). What follows depends on where the broker is:

*In the same database*: claim, messages and next run are one transaction. Each due time is fired exactly once.

*Elsewhere*, no transaction covers both. The winner holds the rows for ``HOLD``, sends, and then steps on. If it dies
in between, the rows come back when the hold ends, and the tasks are sent again, under the same ids: an id follows
from the row, the number of its runs and the due time. A broker that remembers ids for a while (``Broker.enqueue_once``)
takes each of them once, so that there, too, each due time is fired exactly once. With other brokers a repeated
message leaves one record, and may run twice.

A row that cannot be fired says why in ``last_error``, is logged once, and is looked at again after ``PARKED``
(what was missing may have been installed by then). It never holds up another.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.db import connections, router

from django_cluster.core.liveness import report_progress
from django_cluster.core.messages import TaskPackage
from django_cluster.core.settings import ScheduleSettings
from django_cluster.errors import BrokerUnavailable, ClusterError
from django_cluster.lifecycle.claims import Claims
from django_cluster.lifecycle.declared_rows import DeclaredRows
from django_cluster.lifecycle.firing import Firing, plan
from django_cluster.lifecycle.outdated import OutdatedRows
from django_cluster.models.schedule import Schedule
from django_cluster.models.schedule_seal import ensure_sealed
from django_cluster.silence import bounded

logger = logging.getLogger("django_cluster")

Send = Callable[[Sequence[TaskPackage]], None]

BATCH = 1000
"""Rows in one claim."""
HOLD = timedelta(seconds=30)
"""How long one cluster may take to send a batch before another one does it."""
PARKED = timedelta(minutes=1)
"""How long a row that could not be fired is left alone."""


@dataclass(frozen=True, slots=True)
class Pass:
    """What one look at the table came to."""

    fired: int
    next_due: datetime | None
    """When the next one is due, if that is soon."""
    more: bool
    """Whether there was more than one batch."""


class Timetable:
    """The schedules of one queue."""

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
    ) -> None:
        """``site``: see ``ScheduleQuerySet.alive``. ``database``: where the schedules are; None asks the router.

        ``sent`` is told what will never be sent again. ``broker_database``: what ``Broker.database`` says.
        """
        self._settings = settings
        self._zone = ZoneInfo(settings.time_zone) if settings.time_zone else None
        self._queue = queue
        self._site = site
        self._send = send
        self._sent = sent
        self._claims = Claims(database or router.db_for_write(Schedule))
        self._exact = broker_database == self._claims.alias
        self._renewed = False
        self._declared = DeclaredRows(self._claims.alias, self._zone)
        self._outdated = OutdatedRows(self._zone)

    def fire_due(self, now: datetime) -> Pass:
        """Keep the declared schedules, and fire what is due.

        After ``BrokerUnavailable`` or an error of the database, a later look does the rest.
        """
        with bounded(connections[self._claims.alias]):
            return self._fire_due(now)

    def _fire_due(self, now: datetime) -> Pass:
        self._declared.keep(now)
        if not self._renewed:
            self._claims.rows().renew_seals()
            self._renewed = True
        soon = now + timedelta(seconds=self._settings.interval)
        alive = self._claims.rows().alive(self._queue, site=self._site, now=now, declared=self._declared.keys)
        for rows in self._outdated.batches(alive, now):
            report_progress()
            self._fire_all(rows, now)
        rows = list(alive.filter(next_run__lte=soon)[:BATCH])
        due = [row for row in rows if row.next_run is not None and row.next_run <= now]
        fired = self._fire_all(due, now)
        next_due = rows[len(due)].next_run if len(rows) > len(due) else None
        return Pass(fired, next_due, more=len(due) == BATCH)

    def _fire_all(self, rows: Sequence[Schedule], now: datetime) -> int:
        planned = [firing for row in rows if (firing := self._planned(row, now)) is not None]
        fired = self._fire([each for each in planned if not each.goes_elsewhere], now, exact=self._exact)
        return fired + self._fire([each for each in planned if each.goes_elsewhere], now, exact=False)

    def _planned(self, row: Schedule, now: datetime) -> Firing | None:
        try:
            ensure_sealed(row)
            section = self._settings
            return plan(row, now, self._zone, catch_up=section.catch_up, max_catch_up=section.max_catch_up)
        except Exception as error:  # noqa: BLE001  whatever is wrong with one row is no matter of the others
            self._claims.park(row, error, now + PARKED)
            return None

    def _fire(self, firings: Sequence[Firing], now: datetime, *, exact: bool) -> int:
        if not firings:
            return 0
        try:
            return self._send_exactly(firings, now) if exact else self._send_and_hold(firings, now)
        except BrokerUnavailable:
            raise
        except ClusterError as error:
            # One of them cannot be sent. Halves of halves show which.
            if len(firings) > 1:
                middle = len(firings) // 2
                return sum(self._fire(half, now, exact=exact) for half in (firings[:middle], firings[middle:]))
            self._claims.park(firings[0].schedule, error, now + PARKED)
            return 0

    def _send_exactly(self, firings: Sequence[Firing], now: datetime) -> int:
        with self._claims.together():
            won = self._claims.lock(firings)
            self._claims.step_on(won, now=now)
            fired = self._dispatch(won)
        _report_skipped(won)
        return fired

    def _send_and_hold(self, firings: Sequence[Firing], now: datetime) -> int:
        until = now + HOLD
        with self._claims.together():
            won = self._claims.lock(firings)
            self._claims.hold(won, until, now)
        try:
            fired = self._dispatch(won)
        except ClusterError as error:
            with self._claims.together():
                self._claims.let_go(won, until, unsent=not isinstance(error, BrokerUnavailable))
            raise
        with self._claims.together():
            self._claims.step_on(won, until)
        _report_skipped(won)
        if fired and self._sent is not None:
            self._sent([firing.package for firing in won if firing.package is not None])
        return fired

    def _dispatch(self, firings: Sequence[Firing]) -> int:
        packages = [firing.package for firing in firings if firing.package is not None]
        if packages:
            self._send(packages)
        return len(packages)


def _report_skipped(firings: Sequence[Firing]) -> None:
    """Log the missed runs that were skipped; called by the cluster that has fired, so that each is logged once."""
    for firing in firings:
        if firing.skipped is not None:
            begin, end = firing.skipped
            logger.warning(
                "schedule %r (%s) skipped its missed runs from %s to before %s: more than max_catch_up",
                str(firing.schedule), firing.schedule.pk, begin, end, extra={"event": "missed_runs_skipped"},
            )  # fmt: skip
