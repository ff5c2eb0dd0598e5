"""The scheduler with real tables: many clusters at once, a broker in the same database, both kinds of clocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Barrier, Lock
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import connections
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from django_cluster.brokers import open_broker
from django_cluster.cluster.roles.scheduler import Scheduler
from django_cluster.core.codec import Codec
from django_cluster.core.messages import TaskPackage
from django_cluster.core.settings import BrokerSettings, ScheduleSettings, SigningSettings
from django_cluster.errors import BrokerUnavailable, NotSerializable
from django_cluster.lifecycle.send import QueueSender
from django_cluster.models import AcknowledgedMessages, QueuedTask
from django_cluster.models.schedule import Schedule
from django_cluster.schedules.creation import build_schedule
from django_cluster.schedules.dispatcher import BATCH_ROWS
from tests.datetimes import AMSTERDAM, utc
from tests.sample import tasks
from tests.servers import MariaDBServer, PostgresServer

ALIAS = "schedules of the test"
NOW = utc(2026, 11, 20, 12, 0, 30)
ZONE = "Europe/Amsterdam" if settings.USE_TZ else None
CLUSTERS = 4
ROWS = 40
DUE = 3000
MOST_STATEMENTS = 15
"""For a batch of a thousand schedules, begin and commit included."""


class Elsewhere:
    """Routes the tables of schedules and of the queue to the database under test."""

    def db_for_read(self, model: type, **hints: Any) -> str | None:
        return ALIAS if model in (Schedule, QueuedTask) else None

    db_for_write = db_for_read


def sqlite(request: pytest.FixtureRequest) -> dict[str, Any]:
    file = request.getfixturevalue("tmp_path_factory").mktemp("schedules") / "schedules.sqlite3"
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": file, "OPTIONS": {"timeout": 30}}


def postgres(request: pytest.FixtureRequest) -> dict[str, Any]:
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = uuid4().hex
    server.create_database(name)
    return server.database(name)


def mariadb(request: pytest.FixtureRequest) -> dict[str, Any]:
    server: MariaDBServer = request.getfixturevalue("mariadb_server")
    name = uuid4().hex
    server.create_database(name)
    return server.database(name)


@pytest.fixture(params=[sqlite, postgres, mariadb], ids=lambda maker: str(maker.__name__))
def database(request: pytest.FixtureRequest, django_db_blocker: Any) -> Iterator[str]:
    """A database with the tables of schedules and of the queue."""
    entry = request.param(request)
    connections.databases[ALIAS] = connections.configure_settings({"default": {}, ALIAS: entry})[ALIAS]
    with django_db_blocker.unblock(), override_settings(DATABASE_ROUTERS=[Elsewhere()]):
        with connections[ALIAS].schema_editor() as editor:
            editor.create_model(Schedule)
            editor.create_model(QueuedTask)
            editor.create_model(AcknowledgedMessages)
        yield ALIAS
        connections[ALIAS].close()
    del connections[ALIAS]
    del connections.databases[ALIAS]


class Outbox:
    """What all clusters of a test have sent."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self._lock = Lock()

    def __call__(self, packages: Sequence[TaskPackage]) -> None:
        with self._lock:
            self.ids.extend(package.id for package in packages)


def make_scheduler(send: Callable[[Sequence[TaskPackage]], None], now: datetime = NOW, **more: Any) -> Scheduler:
    section = ScheduleSettings(**{"time_zone": ZONE, **more.pop("settings", {})})
    return Scheduler(section, queue="tests", is_default=True, send=send, clock=lambda: now, **more)


@pytest.mark.parametrize("broker_database", [ALIAS, None], ids=["broker in the same database", "broker elsewhere"])
def test_many_clusters_fire_each_due_time_exactly_once(database: str, broker_database: str | None) -> None:
    for number in range(ROWS):
        build_schedule(tasks.echo, number, schedule_type="H", next_run=NOW - timedelta(seconds=number))
    outbox, start = Outbox(), Barrier(CLUSTERS)

    def cluster() -> None:
        scheduler = make_scheduler(outbox, broker_database=broker_database)
        try:
            start.wait()
            for _ in range(3):
                scheduler.tick()
        finally:
            connections[ALIAS].close()

    with ThreadPoolExecutor(CLUSTERS) as clusters:
        for done in [clusters.submit(cluster) for _ in range(CLUSTERS)]:
            done.result()

    assert len(outbox.ids) == len(set(outbox.ids)) == ROWS
    assert not Schedule.objects.filter(next_run__lte=NOW).exists()
    assert not Schedule.objects.filter(claimed_until__isnull=False).exists()


def test_a_broker_in_the_same_database_and_the_row_change_together_or_not_at_all(database: str) -> None:
    build_schedule(tasks.add, 1, 2, schedule_type="H", next_run=NOW)
    broker = open_broker(BrokerSettings(kind="orm", options={"alias": ALIAS}, queue="tests"))
    sender = QueueSender(Codec(SigningSettings(secret="a secret for tests")), broker)

    def cut_off(packages: Sequence[TaskPackage]) -> None:
        sender.send(packages)
        raise BrokerUnavailable("gone in the middle")

    with pytest.raises(BrokerUnavailable):
        make_scheduler(cut_off, broker_database=broker.database).tick()
    assert (QueuedTask.objects.count(), Schedule.objects.get().next_run) == (0, NOW)

    make_scheduler(sender.send, broker_database=broker.database).tick()
    assert (QueuedTask.objects.count(), Schedule.objects.get().next_run) == (1, NOW + timedelta(hours=1))


@pytest.mark.django_db
def test_a_tick_says_when_to_look_again() -> None:
    outbox = Outbox()
    calm = make_scheduler(outbox).tick()
    build_schedule(tasks.echo, next_run=NOW + timedelta(milliseconds=250))
    soon = make_scheduler(outbox).tick()
    backlog = build_schedule(tasks.echo, schedule_type="I", minutes=1, next_run=NOW - timedelta(hours=1))
    behind = make_scheduler(outbox).tick()

    assert (calm, soon, behind) == (1.0, 0.25, 0.25)
    backlog.refresh_from_db()
    assert backlog.next_run == NOW - timedelta(minutes=59)
    assert len(outbox.ids) == 1


@pytest.mark.django_db
def test_a_look_at_schedules_that_are_not_due_is_one_query(django_assert_num_queries: Any) -> None:
    build_schedule(tasks.echo, next_run=NOW + timedelta(hours=1))
    scheduler = make_scheduler(Outbox())
    scheduler.tick()  # the first one also looks whether schedules are declared

    with django_assert_num_queries(1):
        scheduler.tick()


@pytest.mark.django_db
@override_settings(USE_TZ=False)
def test_without_time_zones_schedules_follow_the_naive_clock() -> None:
    due = datetime(2026, 3, 28, 2, 30)  # noqa: DTZ001  naive on purpose
    row = build_schedule(tasks.echo, schedule_type="D", next_run=due, intended_date_kwarg="when")
    cron = build_schedule(tasks.echo, schedule_type="C", cron="30 2 * * *", next_run=due)
    outbox = Outbox()

    make_scheduler(outbox, now=due, settings={"time_zone": None}).tick()

    for each in (row, cron):
        each.refresh_from_db()
        assert each.next_run == datetime(2026, 3, 29, 2, 30)  # noqa: DTZ001  naive on purpose
    assert len(outbox.ids) == 2
    fresh = build_schedule(tasks.echo, schedule_type="C", cron="30 2 * * *")
    assert fresh.next_run is not None
    assert fresh.next_run.tzinfo is None


@pytest.mark.parametrize("kind", ["O", "H", "C"])
@pytest.mark.parametrize("place", ["broker in the same database", "broker elsewhere"])
def test_thousands_of_due_schedules_are_a_few_statements(database: str, kind: str, place: str) -> None:
    due = {"func": "tests.sample.tasks.nothing", "schedule_type": kind, "cron": "@hourly", "next_run": NOW}
    rows = [Schedule(name=str(number), anchor=NOW, **due) for number in range(DUE)]
    broken = Schedule(name="broken", anchor=NOW, **{**due, "args": "1, ("})
    Schedule.objects.bulk_create([*rows[:1200], broken, *rows[1200:]])
    section = BrokerSettings(kind="orm", options={"alias": ALIAS}, queue="tests")
    sender = QueueSender(Codec(SigningSettings(secret="a secret for tests")), open_broker(section))
    scheduler = make_scheduler(
        sender.send, broker_database=ALIAS if place == "broker in the same database" else "another"
    )
    scheduler.tick()

    with CaptureQueriesContext(connections[ALIAS]) as statements:
        while scheduler.tick() == 0.0:
            pass

    assert len(statements) <= MOST_STATEMENTS * (DUE // BATCH_ROWS)
    assert QueuedTask.objects.count() == DUE
    assert [row.name for row in Schedule.objects.filter(next_run__lte=NOW)] == ["broken"]
    assert Schedule.objects.get(name="broken").last_error


def test_one_that_cannot_be_sent_is_found_among_a_thousand_in_a_few_steps(database: str) -> None:
    due = {"schedule_type": "H", "anchor": NOW, "next_run": NOW}
    rows = [Schedule(func="a.b", name=str(number), **due) for number in range(BATCH_ROWS)]
    rows[700].func = "a.refused"
    Schedule.objects.bulk_create(rows)
    calls, outbox = [], Outbox()

    def send(packages: Sequence[TaskPackage]) -> None:
        calls.append(len(packages))
        if any(package.header.func == "a.refused" for package in packages):
            raise NotSerializable("This one cannot be carried.")
        outbox(packages)

    make_scheduler(send).tick()

    assert len(calls) <= 2 * 11
    assert len(set(outbox.ids)) == len(outbox.ids) == BATCH_ROWS - 1
    assert Schedule.objects.exclude(last_error="").get().name == "700"


def test_a_rule_that_was_changed_past_the_model_is_found_by_the_database(database: str) -> None:
    expressions = {"kept": "30 2 1 1 *", "other": "45 3 1 1 *", "spaced": " 45  3 1 1 * "}
    for name in expressions:
        build_schedule(tasks.nothing, name=name, schedule_type="C", cron="30 2 1 1 *", q_options={"catch_up": "once"})
    build_schedule(tasks.nothing, name="minutes", schedule_type="I", minutes=7, next_run=NOW + timedelta(minutes=7))
    before = dict(Schedule.objects.values_list("name", "planned_from"))
    with connections[ALIAS].cursor() as cursor:
        for name, cron in expressions.items():
            cursor.execute("UPDATE django_cluster_schedule SET cron = %s WHERE name = %s", [cron, name])

    scheduler = make_scheduler(Outbox())
    found = sorted(row.name or "" for row in Schedule.objects.all().with_stale_plans())
    scheduler.tick()

    assert found == ["other", "spaced"]
    assert not Schedule.objects.all().with_stale_plans().exists()
    after = {row.name: row for row in Schedule.objects.all()}
    assert after["kept"].planned_from == before["kept"]
    assert after["minutes"].planned_from == before["minutes"] == "I|7||"
    for name in found:
        run = after[name].next_run
        assert run is not None
        assert (run.astimezone(AMSTERDAM) if settings.USE_TZ else run).strftime("%m-%d %H:%M") == "01-01 03:45"


def test_rows_that_are_changed_together_get_their_next_runs(database: str) -> None:
    for number in range(3):
        build_schedule(tasks.nothing, name=str(number), schedule_type="C", cron=f"30 {number} 1 1 *")

    Schedule.objects.update(cron="45 3 1 1 *")

    runs = {row.next_run for row in Schedule.objects.all()}
    assert len(runs) == 1
    assert {row.planned_from for row in Schedule.objects.all()} == {"C||45 3 1 1 *|"}
