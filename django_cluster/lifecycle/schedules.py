"""Standing orders → packages: what is due is claimed, sent, and stepped on.

Any number of clusters may look at the same rows. A claim is an ``UPDATE`` of a row that still is as it was seen,
which every database does atomically, so each due time has one winner. What follows depends on where the broker is:

*In the same database*: claim, messages and next run are one transaction. Each due time is fired exactly once.

*Elsewhere*, no transaction covers both. The winner holds the row for ``HOLD``, sends, and then steps on. If it dies
in between, the row comes back when the hold ends, and the task is sent again: at least once. It is sent under the
same id, which follows from the row, its last task and its due time, so that it leaves one record, and a run that
was recorded already is not repeated.

A row that cannot be fired says why in ``last_error``, is logged once, and is looked at again after ``PARKED``
(what was missing may have been installed by then). It never holds up another.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from django.db import IntegrityError, router, transaction
from django.db.models import QuerySet

from django_cluster.core.arguments import args_from_text, args_to_text, kwargs_from_text, kwargs_to_text
from django_cluster.core.call import build_options, part
from django_cluster.core.dotted import dotted_path
from django_cluster.core.messages import TaskHeader, TaskOptions, TaskPackage
from django_cluster.core.naming import derived_id, task_name
from django_cluster.core.recurrence import look
from django_cluster.core.settings import ScheduleSettings
from django_cluster.errors import BrokerUnavailable, ClusterError
from django_cluster.models.schedule import Schedule, zone_for

Send = Callable[[Sequence[TaskPackage]], None]

logger = logging.getLogger("django_cluster")

BATCH = 500
"""Rows in one claim."""
HOLD = timedelta(seconds=30)
"""How long one cluster may take to send a batch before another one does it."""
PARKED = timedelta(minutes=1)
"""How long a row that could not be fired is left alone."""

Changes = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Firing:
    """A schedule that is due: what to send, and what its row will say afterwards."""

    schedule: Schedule
    """The row as it was seen."""
    package: TaskPackage
    changes: Changes | None
    """None: the row has done its work, and is deleted."""


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
        database: str | None = None,
        broker_database: str | None = None,
    ) -> None:
        """``site``: see ``ScheduleQuerySet.coming``. ``database``: where the schedules are; None asks the router.

        ``broker_database``: what ``Broker.database`` says.
        """
        self._settings = settings
        self._zone = ZoneInfo(settings.time_zone) if settings.time_zone else None
        self._queue = queue
        self._site = site
        self._send = send
        self._alias = database or router.db_for_write(Schedule)
        self._exact = broker_database == self._alias

    def fire_due(self, now: datetime) -> Pass:
        """Fire what is due. After ``BrokerUnavailable`` or an error of the database, a later look does the rest."""
        soon = now + timedelta(seconds=self._settings.interval)
        rows = list(self._rows().coming(self._queue, site=self._site, now=now, until=soon)[:BATCH])
        due = [row for row in rows if row.next_run is not None and row.next_run <= now]
        planned = [firing for row in due if (firing := self._planned(row, now)) is not None]
        fired = self._fire(planned, now)
        next_due = rows[len(due)].next_run if len(rows) > len(due) else None
        return Pass(fired, next_due, more=len(due) == BATCH)

    def _rows(self) -> Any:
        return Schedule.objects.using(self._alias)

    def _planned(self, row: Schedule, now: datetime) -> Firing | None:
        try:
            return plan(row, now, self._zone, catch_up=self._settings.catch_up)
        except Exception as error:  # noqa: BLE001  whatever is wrong with one row is no matter of the others
            self._park(row, error, now)
            return None

    def _fire(self, firings: Sequence[Firing], now: datetime) -> int:
        if not firings:
            return 0
        try:
            return self._send_exactly(firings) if self._exact else self._send_at_least_once(firings, now)
        except BrokerUnavailable:
            raise
        except ClusterError as error:
            # One of them cannot be sent. Alone, each shows whether it is the one.
            if len(firings) > 1:
                return sum(self._fire([firing], now) for firing in firings)
            self._park(firings[0].schedule, error, now)
            return 0

    def _send_exactly(self, firings: Sequence[Firing]) -> int:
        with transaction.atomic(using=self._alias):
            won = [firing for firing in firings if self._step_on(firing)]
            self._send([firing.package for firing in won])
        return len(won)

    def _send_at_least_once(self, firings: Sequence[Firing], now: datetime) -> int:
        until = now + HOLD
        with transaction.atomic(using=self._alias):
            won = [firing for firing in firings if self._as_seen(firing.schedule).update(held_until=until)]
        try:
            self._send([firing.package for firing in won])
        except ClusterError:
            for firing in won:
                self._as_seen(firing.schedule, until).update(held_until=firing.schedule.held_until)
            raise
        with transaction.atomic(using=self._alias):
            for firing in won:
                self._step_on(firing, until)
        return len(won)

    def _step_on(self, firing: Firing, held_until: datetime | None = None) -> bool:
        row = self._as_seen(firing.schedule, held_until)
        return bool(row.delete()[0] if firing.changes is None else row.update(**firing.changes))

    def _as_seen(self, row: Schedule, held_until: datetime | None = None) -> QuerySet[Schedule]:
        """The row, if nobody has fired, moved or disabled it since. ``held_until``: if we hold it ourselves."""
        seen = {"next_run": row.next_run, "repeats": row.repeats, "task": row.task, "enabled": True}
        same: QuerySet[Schedule] = self._rows().filter(pk=row.pk, held_until=held_until or row.held_until, **seen)
        return same

    def _park(self, row: Schedule, error: Exception, now: datetime) -> None:
        message = str(error) or type(error).__name__
        parked = self._as_seen(row).update(last_error=message, held_until=now + PARKED)
        if parked and message != row.last_error:
            logger.error("The schedule %r (%s) cannot be fired: %s", str(row), row.pk, message)


def plan(row: Schedule, now: datetime, tz: tzinfo | None, *, catch_up: bool) -> Firing:
    """What firing a due row means. Raises whatever is wrong with the row."""
    assert row.next_run is not None
    rule, zone = row.rule(), zone_for(row.next_run, tz)
    rule.check()
    rule = rule.through(row.next_run, zone)
    next_run = look(rule, row.next_run, now, zone, catch_up=catch_up).next_run
    package = _package(row, row.next_run, now)
    changes: Changes = {"task": package.id, "held_until": None, "last_error": "", "anchor": rule.anchor}
    if next_run is not None:
        return Firing(row, package, {**changes, "next_run": next_run, "repeats": row.repeats - (row.repeats > 0)})
    return Firing(row, package, None if row.repeats < 0 else {**changes, "repeats": 0})


def _package(row: Schedule, due: datetime, now: datetime) -> TaskPackage:
    kwargs = kwargs_from_text(row.kwargs)
    options, name = _options(row, kwargs.pop("q_options", None) or {})
    if row.intended_date_kwarg:
        kwargs[row.intended_date_kwarg] = due.isoformat()
    # The last task is a part of it, so that a run that is asked for again, for the same time, is a new one.
    task_id = derived_id("schedule", row.pk, row.task or "", due.isoformat())
    header = TaskHeader(
        id=task_id,
        name=name or task_name(task_id),
        func=dotted_path(row.func),
        enqueued_at=now.timestamp(),
        options=options,
    )
    return TaskPackage(header=header, args=args_from_text(row.args), kwargs=kwargs)


def _options(row: Schedule, given: Any) -> tuple[TaskOptions, str | None]:
    """The options of the task, and its name if one is given. The columns of the row go before ``q_options``."""
    if not isinstance(given, dict):
        raise ValueError("q_options is not a dict.")
    options = {"group": row.name or str(row.pk), **given}
    cluster = row.cluster or options.get("cluster") or options.pop("broker_name", None)
    options |= {"cluster": cluster, "hook": row.hook or options.get("hook")}
    if options.get("sync"):
        raise ValueError("A schedule always sends its tasks to the cluster: the option 'sync' means nothing here.")
    _, options = part({"q_options": options})
    return build_options(options), options.get("task_name")


def build_schedule(
    func: Callable[..., Any] | str,
    *args: Any,
    name: str | None = None,
    hook: Callable[..., Any] | str | None = None,
    schedule_type: str = Schedule.ONCE,
    minutes: int | None = None,
    repeats: int = -1,
    next_run: datetime | None = None,
    cron: str | None = None,
    cluster: str | None = None,
    intended_date_kwarg: str | None = None,
    q_zone: tzinfo | None = None,
    q_database: str | None = None,
    **kwargs: Any,
) -> Schedule:
    """A saved schedule. ``q_zone``: in which the first run of a cron expression is reckoned; None = Django's.
    ``q_database``: where it is kept; None asks the router.

    Raises ``IntegrityError`` for a name that is used already, ``ValidationError`` for what makes no sense,
    ``UnknownFunction`` and ``NotSerializable`` for what cannot be kept.
    """
    alias = q_database or router.db_for_write(Schedule)
    if name and Schedule.objects.using(alias).filter(name=name).exists():
        raise IntegrityError(f"There is a schedule named {name!r} already.")
    row = Schedule(
        name=name,
        func=dotted_path(func),
        hook=dotted_path(hook) if hook else None,
        args=args_to_text(args) or None,
        kwargs=kwargs_to_text(kwargs) or None,
        schedule_type=schedule_type,
        minutes=minutes,
        repeats=repeats,
        next_run=next_run,
        cron=cron,
        cluster=cluster,
        intended_date_kwarg=intended_date_kwarg,
    )
    row.full_clean(validate_unique=False)  # it would look in the database that the router reads
    _options(row, kwargs.get("q_options") or {})
    if schedule_type == Schedule.CRON and next_run is None:
        row.start_with_the_expression(q_zone)
    row.save(using=alias)
    return row
