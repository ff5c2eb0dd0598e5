"""Dispatches schedules: claims the rows that are due, sends their tasks, and advances the rows, many at a time.

Each due time has one winner among any number of clusters (``claims.py``). What follows depends on where the broker is:

*In the database of the schedules*: claim, messages and next run are one transaction. Each due time is fired exactly
once.

*Elsewhere*, no transaction covers both. The winner claims the rows for ``CLAIM_DURATION``, sends, and then advances
them. If it dies in between, the claim expires, and the tasks are sent again under the same ids: an id follows from the
row, the number of its runs and the due time. A broker that remembers ids for a while (``Broker.enqueue_unique``) takes
each of them once, so that there, too, each due time is fired exactly once. With other brokers a duplicate message
leaves one record, and may run twice.

A row that cannot be fired says why in ``last_error``, is logged once, and is suspended for ``SUSPENSION`` (what was
missing may have been installed by then). It never delays another row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.db import connections, router

from django_cluster.core.events.schedules import MISSED_RUNS_SKIPPED
from django_cluster.core.liveness import report_progress
from django_cluster.core.messages import TaskPackage
from django_cluster.core.settings import ScheduleSettings
from django_cluster.database.watchdog import bounded
from django_cluster.errors import BrokerUnavailable, ClusterError
from django_cluster.models.schedule import Schedule
from django_cluster.models.schedule_seal import ensure_sealed
from django_cluster.schedules.claims import ScheduleClaims
from django_cluster.schedules.declaration_sync import DeclarationSync
from django_cluster.schedules.planning import PlannedRun, plan_run
from django_cluster.schedules.replanning import StalePlanFinder

Send = Callable[[Sequence[TaskPackage]], None]

BATCH_ROWS = 1000
"""Rows in one claim."""
CLAIM_DURATION = timedelta(seconds=30)
"""How long a cluster may take to send a batch before another cluster sends it."""
SUSPENSION = timedelta(minutes=1)
"""How long a row that could not be fired is not tried again."""


@dataclass(frozen=True, slots=True)
class DispatchResult:
    """The result of one pass over the schedules."""

    fired: int
    next_due: datetime | None
    """When the next schedule is due, if that is before the next pass."""
    more: bool
    """Whether more rows are due than one batch holds."""


class ScheduleDispatcher:
    """Fires the schedules of one queue."""

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
    ) -> None:
        """``is_default``: see ``ScheduleQuerySet.runnable``. ``sent``: called with packages that are sent for good.

        ``database``: alias of the schedules' database; None asks the router. ``broker_database``: ``Broker.database``.
        """
        self._settings = settings
        self._zone = ZoneInfo(settings.time_zone) if settings.time_zone else None
        self._queue = queue
        self._is_default = is_default
        self._send = send
        self._sent = sent
        self._claims = ScheduleClaims(database or router.db_for_write(Schedule))
        self._exact = broker_database == self._claims.alias
        self._renewed = False
        self._declared = DeclarationSync(self._claims.alias, self._zone)
        self._stale_plans = StalePlanFinder(self._zone)

    def fire_due(self, now: datetime) -> DispatchResult:
        """Synchronize the declared schedules, and fire what is due.

        After ``BrokerUnavailable`` or an error of the database, a later pass does the rest.
        """
        with bounded(connections[self._claims.alias]):
            return self._fire_due(now)

    def _fire_due(self, now: datetime) -> DispatchResult:
        self._declared.sync(now)
        if not self._renewed:
            self._claims.rows().renew_seals()
            self._renewed = True
        soon = now + timedelta(seconds=self._settings.interval)
        alive = self._claims.rows().runnable(
            self._queue, is_default=self._is_default, now=now, declared=self._declared.keys
        )
        for rows in self._stale_plans.batches(alive, now):
            report_progress()
            self._fire_all(rows, now)
        rows = list(alive.filter(next_run__lte=soon)[:BATCH_ROWS])
        due = [row for row in rows if row.next_run is not None and row.next_run <= now]
        fired = self._fire_all(due, now)
        next_due = rows[len(due)].next_run if len(rows) > len(due) else None
        return DispatchResult(fired, next_due, more=len(due) == BATCH_ROWS)

    def _fire_all(self, rows: Sequence[Schedule], now: datetime) -> int:
        planned = [run for row in rows if (run := self._planned(row, now)) is not None]
        fired = self._fire([each for each in planned if not each.has_own_broker], now, exact=self._exact)
        return fired + self._fire([each for each in planned if each.has_own_broker], now, exact=False)

    def _planned(self, row: Schedule, now: datetime) -> PlannedRun | None:
        try:
            ensure_sealed(row)
            section = self._settings
            return plan_run(row, now, self._zone, catch_up=section.catch_up, max_catch_up=section.max_catch_up)
        except Exception as error:  # noqa: BLE001  an error of one row must not stop the others
            self._claims.suspend(row, error, now + SUSPENSION)
            return None

    def _fire(self, planned_runs: Sequence[PlannedRun], now: datetime, *, exact: bool) -> int:
        if not planned_runs:
            return 0
        try:
            return self._send_in_transaction(planned_runs, now) if exact else self._claim_and_send(planned_runs, now)
        except BrokerUnavailable:
            raise
        except ClusterError as error:
            # One of them cannot be sent; halving finds it.
            if len(planned_runs) > 1:
                middle = len(planned_runs) // 2
                return sum(
                    self._fire(half, now, exact=exact) for half in (planned_runs[:middle], planned_runs[middle:])
                )
            self._claims.suspend(planned_runs[0].schedule, error, now + SUSPENSION)
            return 0

    def _send_in_transaction(self, planned_runs: Sequence[PlannedRun], now: datetime) -> int:
        with self._claims.transaction():
            won = self._claims.lock(planned_runs)
            self._claims.advance(won, now=now)
            fired = self._dispatch(won)
        _report_skipped(won)
        return fired

    def _claim_and_send(self, planned_runs: Sequence[PlannedRun], now: datetime) -> int:
        until = now + CLAIM_DURATION
        with self._claims.transaction():
            won = self._claims.lock(planned_runs)
            self._claims.claim(won, until, now)
        try:
            fired = self._dispatch(won)
        except ClusterError as error:
            with self._claims.transaction():
                self._claims.unclaim(won, until, unsent=not isinstance(error, BrokerUnavailable))
            raise
        with self._claims.transaction():
            self._claims.advance(won, until)
        _report_skipped(won)
        if fired and self._sent is not None:
            self._sent([run.package for run in won if run.package is not None])
        return fired

    def _dispatch(self, planned_runs: Sequence[PlannedRun]) -> int:
        packages = [run.package for run in planned_runs if run.package is not None]
        if packages:
            self._send(packages)
        return len(packages)


def _report_skipped(planned_runs: Sequence[PlannedRun]) -> None:
    """Log the missed runs that were skipped; called by the cluster that has fired, so that each is logged once."""
    for run in planned_runs:
        if run.skipped is not None:
            begin, end = run.skipped
            MISSED_RUNS_SKIPPED.log(
                schedule=str(run.schedule), schedule_id=run.schedule.pk, first_missed=begin, upcoming_run=end
            )
