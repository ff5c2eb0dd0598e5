"""Run what is pending in the test process: tasks that are due, and schedules up to a moment."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from django.db import router
from django.utils import timezone

from django_cluster.core.messages import TaskPackage
from django_cluster.core.time import LocalTime, aware
from django_cluster.lifecycle.send import TaskRouter
from django_cluster.models.schedule import Schedule, ScheduleQuerySet
from django_cluster.schedules.declarations import declarations
from django_cluster.schedules.dispatcher import ScheduleDispatcher
from django_cluster.testing.due import MovableClock, refuse_to_leave_delayed
from django_cluster.testing.queues import TestedQueue, queues_under_test
from django_cluster.testing.running import QueueRunner
from django_cluster.testing.transactions import run_on_commit_callbacks

__all__ = ["run_pending", "run_schedules"]


def run_pending(
    queue: str | None = None,
    *,
    until: datetime | timedelta | None = None,
    raise_errors: bool = True,
    limit: int = 1000,
) -> list[str]:
    """Run every task that is due, and those that they send, until none is left; returns their ids, one for each run.

    First everything that waits for the commit of the test's own transaction (``transaction.on_commit``) is called, as
    if it had been committed. Then the tasks run, in that transaction, through the broker: leased, verified, executed,
    recorded and acknowledged as by a cluster. ``queue``: of one queue only; None: of all.

    What is due is decided by the clock of the test process, which freezegun and time-machine may have set. ``until``, a
    moment or a duration from now, sets it forward step by step: delayed tasks and later attempts run in the order in
    which they become due. Tasks that ask for the time are told that of the process.

    The first failure is raised as it was in the task, after it was recorded; one that is followed by a later attempt
    before ``until`` is not. With ``raise_errors=False`` failures are only recorded.

    Raises ``AssertionError`` when there are more than ``limit`` runs, ``RuntimeError`` outside of tests,
    ``NotSupported`` for ``until`` where the broker does not give out what it delays (SQS, RabbitMQ, IronMQ, Disque).
    """

    def queues() -> list[TestedQueue]:
        return queues_under_test(queue, act="run_pending()")

    queues()
    run_on_commit_callbacks()
    clock = MovableClock(until=moment_of(until) if until is not None else 0.0)
    ids = QueueRunner(queues, clock, raise_errors=raise_errors, limit=limit).run()
    for each in queues() if until is not None else ():
        refuse_to_leave_delayed(each.broker)
    return ids


def moment_of(until: datetime | timedelta) -> float:
    """Unix time of a moment, or of now and a duration."""
    if isinstance(until, timedelta):
        return time.time() + until.total_seconds()
    if isinstance(until, datetime):
        return _unix_time(until)
    raise TypeError(f"until is a datetime or a timedelta, not {until!r}.")


def run_schedules(
    until: datetime | timedelta | None = None,
    *,
    queue: str | None = None,
    run_tasks: bool = False,
    limit: int = 1000,
) -> list[str]:
    """Send what the schedules have due up to a moment, as a scheduler would; returns the ids of the tasks, in order.

    ``until``: a moment, or a duration from now; None: now, by the clock of the test process, which freezegun and
    time-machine may have set. The clock that the schedules see goes forward from one due time to the next, so that
    each is sent once. Schedules that are declared in code (``@periodic_task``, ``@cron_task``) are among them.
    ``queue``: only schedules of this queue. ``run_tasks``: call ``run_pending`` after each due time, as schedules need
    that wait for the end of their last run.

    Raises ``AssertionError`` for a schedule that cannot be run, and when there are more than ``limit`` runs;
    ``RuntimeError`` outside of tests.
    """
    last = moment_of(until) if until is not None else time.time()
    loops = [
        ScheduleRunner(each)
        for each in queues_under_test(queue, act="run_schedules()")
        if each.broker is each.client.broker  # schedules are fired by the cluster of a queue, whatever broker they name
    ]
    now = time.time()
    due = dict.fromkeys(loops, now)
    ids: list[str] = []
    while due:
        now = min(due.values())
        for loop in [each for each, moment in due.items() if moment == now]:
            ids += loop.fire(now)
            if len(ids) > limit:
                raise AssertionError(f"The schedules have more than {limit} runs until then.")
        if run_tasks:
            run_pending(limit=limit)
        # Where tasks have run, they may have changed the schedules of any queue.
        asked = loops if run_tasks else [each for each in loops if due.get(each) == now]
        for loop in asked:
            due.pop(loop, None)
            if (coming := loop.next_due(now, last)) is not None:
                due[loop] = coming
    return ids


class ScheduleRunner:
    """Fires the schedules of one queue by a clock that is handed to it."""

    def __init__(self, queue: TestedQueue) -> None:
        client, broker = queue.client, queue.broker
        settings = client.settings
        self._alias = settings.results.database or router.db_for_write(Schedule)
        self._queue, self._is_default = broker.queue, broker.queue == settings.name
        self._sent: list[str] = []
        sender = TaskRouter(client.codec, broker, settings.brokers, queue_brokers=settings.queue_brokers)

        def send(packages: Sequence[TaskPackage]) -> None:
            sender.send_once(packages)
            self._sent += [package.id for package in packages]

        self._dispatcher = ScheduleDispatcher(
            settings.schedule,
            queue=self._queue,
            is_default=self._is_default,
            send=send,
            sent=sender.forget,
            database=self._alias,
            broker_database=broker.database,
        )

    def fire(self, now: float) -> list[str]:
        """Fire what is due at this Unix time, as often as it is due; returns the ids of the tasks."""
        self._sent = []
        while self._dispatcher.fire_due(_as_datetime(now)).fired:
            continue
        self._refuse_suspended(now)
        return self._sent

    def next_due(self, now: float, last: float) -> float | None:
        """The next due time after ``now`` and not after ``last``."""
        row = self._rows(now).filter(next_run__gt=_as_datetime(now), next_run__lte=_as_datetime(last)).first()
        return None if row is None or row.next_run is None else _unix_time(row.next_run)

    def _rows(self, now: float) -> ScheduleQuerySet:
        return ScheduleQuerySet(Schedule, using=self._alias).runnable(
            self._queue,
            is_default=self._is_default,
            now=_as_datetime(now),
            declared=[each.key for each in declarations()],
        )

    def _refuse_suspended(self, now: float) -> None:
        """Raise ``AssertionError`` for a schedule that was due and could not be fired."""
        late = ScheduleQuerySet(Schedule, using=self._alias).filter(next_run__lte=_as_datetime(now), enabled=True)
        for row in late.exclude(last_error=""):
            raise AssertionError(f"The schedule {row} cannot be run: {row.last_error}")


def _as_datetime(moment: float) -> datetime:
    """The moment as the scheduler is told it: naive, in the time zone of the settings, without ``USE_TZ``."""
    found = datetime.fromtimestamp(moment, UTC)
    return timezone.make_naive(found, timezone.get_default_timezone()) if LocalTime.zone() is None else found


def _unix_time(moment: datetime) -> float:
    """The inverse of ``_as_datetime``; not ``timestamp`` of a naive moment, for which freezegun knows no time zone."""
    if moment.tzinfo is not None:
        return moment.timestamp()
    if LocalTime.zone() is None:
        return timezone.make_aware(moment, timezone.get_default_timezone()).timestamp()
    return aware(moment).timestamp()
