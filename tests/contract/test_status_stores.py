"""Heartbeats and commands on every database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from django_cluster import control
from django_cluster.database.clock import MICROSECONDS, DatabaseClock
from django_cluster.errors import StoreUnavailable
from django_cluster.models import Heartbeat
from django_cluster.models.operator_command import OperatorCommand
from django_cluster.stores.operator_commands import OperatorCommandStore, PendingCommands
from django_cluster.stores.status import FORGET_AFTER_SECONDS, StatusStore
from tests.e2e.project import working_on
from tests.unit.stores.test_status import STATUS


@pytest.fixture(scope="module", params=["sqlite", "postgres", "mariadb", "mysql"])
def migrated(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, django_db_blocker: Any
) -> Iterator[dict[str, Any]]:
    """An entry of ``DATABASES`` with our tables, for all tests of this module."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            file = tmp_path_factory.mktemp("status") / "db.sqlite3"
            entry: dict[str, Any] = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(file)}
        else:
            server, name = request.getfixturevalue(f"{request.param}_server"), f"status_{uuid4().hex}"
            server.create_database(name)
            stack.callback(server.drop_database, name)
            entry = server.database(name)
        with django_db_blocker.unblock(), working_on(entry):
            call_command("migrate", "django_cluster", verbosity=0)
        yield entry


@pytest.fixture
def _database(migrated: dict[str, Any], django_db_blocker: Any) -> Iterator[None]:
    """The default database of this process, with our tables, of which those of this module are empty."""
    with django_db_blocker.unblock(), working_on(migrated):
        yield
        for model in (Heartbeat, OperatorCommand):
            model.objects.all().delete()


@pytest.fixture
def statuses(_database: None) -> StatusStore:
    return StatusStore()


@pytest.fixture
def commands(_database: None) -> OperatorCommandStore:
    return OperatorCommandStore()


def silence(seconds: float) -> None:
    """All clusters have been silent for so long."""
    Heartbeat.objects.update(heartbeat_at=DatabaseClock() - int(seconds * MICROSECONDS))


def test_the_last_word_of_each_cluster_is_kept(statuses: StatusStore) -> None:
    other = replace(STATUS, id="another", host="db-1")
    statuses.publish(STATUS)
    statuses.publish(replace(STATUS, state="stopping"))
    statuses.publish(other)

    found = statuses.all()

    assert [replace(each, age=0.0) for each in found] == [other, replace(STATUS, state="stopping")]
    assert all(0 <= each.age < 60 for each in found)
    again = statuses.get("another")
    assert again is not None
    assert replace(again, age=0.0) == other
    assert statuses.get("nobody") is None


def test_a_silent_cluster_is_dead_then_forgotten(statuses: StatusStore) -> None:
    statuses.publish(STATUS)
    silence(60)
    assert statuses.all() == []
    (dead,) = statuses.all(dead=True)
    assert dead.age == pytest.approx(60, abs=5)
    assert statuses.prune() == 0

    silence(FORGET_AFTER_SECONDS + 1)

    assert statuses.prune() == 1
    assert statuses.all(dead=True) == []


def test_a_cluster_that_stops_takes_its_row_away(statuses: StatusStore) -> None:
    statuses.publish(STATUS)

    statuses.remove(STATUS.id)
    statuses.remove(STATUS.id)

    assert statuses.all(dead=True) == []


def test_a_heartbeat_is_one_statement_in_one_transaction(statuses: StatusStore, commands: OperatorCommandStore) -> None:
    statuses.publish(STATUS)

    with CaptureQueriesContext(connection) as queries:
        statuses.publish(STATUS)
        commands.pending(STATUS.id, STATUS.queues)

    said = [each["sql"] for each in queries.captured_queries]
    framing = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")
    assert len([sql for sql in said if not sql.startswith(framing) and "success = success" not in sql]) == 2


def test_a_pause_is_given_once_and_seen_by_every_cluster_of_the_queue(commands: OperatorCommandStore) -> None:
    assert commands.pause("mail", "Ada")
    assert not commands.pause("mail", "Bob")
    commands.pause("reports")

    assert commands.pending("any", ["mail", "default"]) == PendingCommands(paused=frozenset({"mail"}))
    assert [(pause.queue, pause.by) for pause in commands.paused()] == [("mail", "Ada"), ("reports", "")]
    assert all(0 <= pause.age < 60 for pause in commands.paused())
    assert commands.resume("mail")
    assert not commands.resume("mail")
    assert commands.pending("any", ["mail"]) == PendingCommands()


def test_a_pause_ends_by_the_clock_of_the_database(commands: OperatorCommandStore) -> None:
    commands.pause("mail", "Ada", timedelta(hours=1))
    commands.pause_task("shop.bill", "Ada", timedelta(hours=1))
    (pause,), (task,) = commands.paused(), commands.paused_tasks()
    assert pause.left is not None and 3500 < pause.left <= 3600  # noqa: PT018
    assert (task.func, task.by, task.left is not None) == ("shop.bill", "Ada", True)
    assert commands.pending("any", ["mail"]) == PendingCommands(
        paused=frozenset({"mail"}), paused_tasks=frozenset({"shop.bill"})
    )

    OperatorCommand.objects.using(commands.database).update(until=F("until") - 3600 * 10**6)  # an hour has passed

    assert not commands.paused()
    assert not commands.paused_tasks()
    assert commands.pending("any", ["mail"]) == PendingCommands()
    assert not commands.resume("mail")
    assert commands.pause_task("shop.bill")
    assert commands.resume_task("shop.bill")
    assert not commands.resume_task("shop.bill")


def test_a_pause_that_lasts_gets_another_end(commands: OperatorCommandStore) -> None:
    commands.pause("mail", "Ada", timedelta(hours=1))

    assert not commands.pause("mail", "Bob", timedelta(hours=2))
    assert [round((pause.left or 0) / 3600) for pause in commands.paused()] == [2]
    assert not commands.pause("mail", "Bob")
    assert [pause.left for pause in commands.paused()] == [None]
    assert not commands.pause("mail", "Eve")
    assert [pause.by for pause in commands.paused()] == ["Bob"]
    with pytest.raises(ValueError, match="future"):
        control.pause("mail", until=1.0)
    with pytest.raises(ValueError, match="100 years"):
        control.pause_task("shop.bill", until=timedelta(seconds=-1))
    with pytest.raises(TypeError, match="ends at a datetime"):
        control.pause("mail", until="tomorrow")  # type: ignore[arg-type]


def test_a_seat_is_recycled_once_by_its_own_cluster(commands: OperatorCommandStore) -> None:
    assert commands.restart("one", 7)
    assert not commands.restart("one", 7)
    commands.restart("one", 8)
    commands.restart("other", 7)

    assert commands.pending("one", []) == PendingCommands(restart=frozenset({7, 8}))
    commands.mark_done("one", frozenset({7}))

    assert commands.pending("one", []) == PendingCommands(restart=frozenset({8}))
    assert commands.pending("other", []) == PendingCommands(restart=frozenset({7}))


def test_what_a_forgotten_cluster_was_told_is_forgotten_too(
    statuses: StatusStore, commands: OperatorCommandStore
) -> None:
    commands.restart("gone", 7)
    commands.pause("mail")

    statuses.prune(older_than=-60)

    assert commands.pending("gone", ["mail"]) == PendingCommands(paused=frozenset({"mail"}))


def test_a_missing_table_is_said_as_an_error_of_the_store(tmp_path: Path, django_db_blocker: Any) -> None:
    entry = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "empty.sqlite3")}
    with django_db_blocker.unblock(), working_on(entry):
        with pytest.raises(StoreUnavailable):
            StatusStore().all()
        with pytest.raises(StoreUnavailable):
            OperatorCommandStore().pending("any", ["mail"])
