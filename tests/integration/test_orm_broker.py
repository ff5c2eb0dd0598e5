"""What is peculiar to the ORM broker: transactions, locks, lost connections, and the plans of its claims."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Timer
from typing import Any

import pytest
from django.db import connections, transaction

from django_cluster.brokers import orm
from django_cluster.brokers.base import Broker
from django_cluster.brokers.messages import Message
from django_cluster.brokers.orm_dialects import dialect_of
from django_cluster.brokers.orm_rows import MAX_PROMOTIONS
from django_cluster.core.queue_names import table_queue_name
from django_cluster.database import session
from django_cluster.errors import BrokerRefused, BrokerUnavailable
from django_cluster.testing.contracts import deliveries_of, eventually, lease_all, payloads, receipts
from tests.brokers import known_database, opener, queue_database, queue_on
from tests.servers import MariaDBServer, PostgresServer

SQLITE = "django.db.backends.sqlite3"


@pytest.fixture(autouse=True)
def databases(django_db_blocker: Any) -> Iterator[None]:
    """These tests use databases of their own, so they need none of pytest-django's."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "queue.sqlite3"


@pytest.fixture
def sqlite(file: Path) -> Iterator[str]:
    with queue_database({"ENGINE": SQLITE, "NAME": file, "OPTIONS": {"timeout": 0.1}}) as alias:
        yield alias


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Iterator[str]:
    with queue_on(postgres_server) as alias:
        yield alias


@pytest.fixture
def mariadb(mariadb_server: MariaDBServer) -> Iterator[str]:
    with queue_on(mariadb_server) as alias:
        yield alias


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def alias(request: pytest.FixtureRequest) -> str:
    """Each of the databases in turn."""
    alias: str = request.getfixturevalue(request.param)
    return alias


def open_orm(alias: str, **changes: Any) -> Broker:
    broker = opener("orm", alias=alias)(**changes)
    broker.prepare()
    return broker


def rows(alias: str, query: str, *params: Any) -> list[tuple[Any, ...]]:
    with connections[alias].cursor() as cursor:
        cursor.execute(query, params)
        return list(cursor.fetchall()) if cursor.description else []


class Undone(Exception):
    """Ends a transaction without its commit."""


# -- transactions ---------------------------------------------------------------------------------


def test_what_is_enqueued_in_a_transaction_comes_with_its_commit(alias: str) -> None:
    broker = open_orm(alias)

    with transaction.atomic(using=alias):
        broker.enqueue([Message("one")])

    assert payloads(broker.lease(10)) == ["one"]


@pytest.mark.parametrize("count", [1, 2500], ids=["one", "several statements"])
def test_what_is_enqueued_in_a_transaction_goes_with_its_rollback(alias: str, count: int) -> None:
    broker = open_orm(alias)

    with contextlib.suppress(Undone), transaction.atomic(using=alias):
        broker.enqueue([Message("one")] * count)
        raise Undone

    assert broker.size().total == 0


def test_an_acknowledgement_joins_the_transaction_of_its_alias(alias: str) -> None:
    broker = open_orm(alias)
    broker.enqueue([Message("one")])
    held = receipts(broker.lease(1))

    assert broker.database == alias
    with contextlib.suppress(Undone), transaction.atomic(using=alias):
        broker.acknowledge(held)
        raise Undone

    assert list(broker.renew(held)) == []


@pytest.mark.parametrize("strict", ["postgres", "mariadb"])
def test_several_statements_of_one_call_are_kept_together_or_not_at_all(
    strict: str, request: pytest.FixtureRequest
) -> None:
    broker = open_orm(request.getfixturevalue(strict))

    with pytest.raises(BrokerRefused):
        broker.enqueue([Message("good")] * 1500 + [Message("too urgent", priority=10**6)])

    assert broker.size().total == 0


# -- errors and lost connections ------------------------------------------------------------------


def test_a_missing_table_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with (
        known_database({"ENGINE": SQLITE, "NAME": tmp_path / "empty.sqlite3"}) as alias,
        pytest.raises(BrokerRefused, match=r"manage\.py migrate"),
    ):
        open_orm(alias).lease(1)


def test_a_connection_that_died_meanwhile_is_replaced(postgres: str, postgres_server: PostgresServer) -> None:
    broker = open_orm(postgres)
    broker.enqueue([Message("one")])

    postgres_server.restart()

    assert payloads(broker.lease(1)) == ["one"]


def test_a_connection_that_dies_in_the_transaction_of_the_caller_is_an_error(postgres: str) -> None:
    broker = open_orm(postgres)
    broker.enqueue([Message("before")])

    def lose_the_connection() -> None:
        with transaction.atomic(using=postgres):
            ((pid,),) = rows(postgres, "SELECT pg_backend_pid()")
            with known_database({**connections[postgres].settings_dict}) as another:
                rows(another, "SELECT pg_terminate_backend(%s, 5000)", pid)
            broker.enqueue([Message("lost")])

    with pytest.raises(BrokerUnavailable):
        lose_the_connection()

    assert [each.payload for each in broker.peek()] == ["before"]


@pytest.mark.parametrize("age", [0, 600, None])
def test_verbs_share_one_connection_whatever_its_maximum_age(postgres_server: PostgresServer, age: int | None) -> None:
    with queue_on(postgres_server, CONN_MAX_AGE=age) as alias:
        broker = open_orm(alias)
        broker.ping()
        before = rows(alias, "SELECT pg_backend_pid()")

        broker.enqueue([Message("one")])
        broker.acknowledge(receipts(broker.lease(1)))

        assert rows(alias, "SELECT pg_backend_pid()") == before


def test_collisions_are_tried_again(mariadb: str) -> None:
    names = [str(number) for number in range(300)]
    filled = open_orm(mariadb)
    filled.enqueue([Message(name) for name in names])
    queue = filled.queue

    def churn(_: int) -> list[str]:
        broker, done = open_orm(mariadb, queue=queue), []
        while deliveries := broker.lease(10):
            broker.release(deliveries[5:], refund_attempt=True)
            broker.acknowledge(receipts(deliveries[:5]))
            done += payloads(deliveries[:5])
        broker.close()
        return done

    with ThreadPoolExecutor(4) as pool:
        done = [name for names in pool.map(churn, range(4)) for name in names]
    broker = open_orm(mariadb, queue=queue)
    done += payloads(broker.lease(300))

    assert sorted(done, key=int) == names


# -- SQLite ---------------------------------------------------------------------------------------


def test_preparing_lets_sqlite_write_ahead_for_good(sqlite: str, file: Path) -> None:
    open_orm(sqlite)

    with sqlite3.connect(file) as another:
        assert another.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    another.close()


def test_an_idle_broker_asks_sqlite_for_no_lock(sqlite: str, file: Path) -> None:
    broker = open_orm(sqlite)
    writer = sqlite3.connect(file, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")

    started = time.monotonic()
    assert list(broker.lease(10, wait=0.3)) == []

    assert time.monotonic() - started < 2
    writer.close()


def test_a_locked_sqlite_is_waited_for(sqlite: str, file: Path) -> None:
    broker = open_orm(sqlite)
    writer = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    writer.execute("BEGIN IMMEDIATE")
    Timer(0.5, writer.rollback).start()

    broker.enqueue([Message("one")])

    assert broker.size().ready == 1
    writer.close()


def test_a_sqlite_that_stays_locked_is_reported(sqlite: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "RETRY_SECONDS", 0.3)
    broker = open_orm(sqlite)
    writer = sqlite3.connect(file, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")

    with pytest.raises(BrokerUnavailable, match="locked"):
        broker.enqueue([Message("one")])

    writer.close()


def test_writers_of_sqlite_do_not_lock_each_other_out(sqlite: str) -> None:
    queue = open_orm(sqlite).queue

    def write(number: int) -> None:
        broker = open_orm(sqlite, queue=queue)
        for place in range(30):
            broker.enqueue([Message(f"{number}-{place}")])
            broker.acknowledge(receipts(broker.lease(1)))
        broker.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))

    assert open_orm(sqlite, queue=queue).size().total == 0


# -- plans ----------------------------------------------------------------------------------------


def fill(alias: str, count: int = 5000) -> Broker:
    broker = open_orm(alias)
    broker.enqueue([Message("x" * 100)] * count)
    return broker


class Explained:
    """A cursor that keeps the plan of each statement, and lets the statement run."""

    def __init__(self, cursor: Any, words: str) -> None:
        self._cursor, self._words = cursor, words
        self.plan = ""

    def execute(self, query: str, params: Any = None) -> None:
        self._cursor.execute(f"{self._words} {query}", params)
        self.plan += "\n".join(str(row) for row in self._cursor.fetchall()) + "\n"
        self._cursor.execute(query, params)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


def plan_of_claim(alias: str, queue: str) -> str:
    """How the database finds 100 of the waiting rows."""
    words = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN", "mysql": "EXPLAIN FORMAT=JSON"}
    connection = connections[alias]
    with transaction.atomic(using=alias), connection.cursor() as cursor:
        explained: Any = Explained(cursor, words[connection.vendor])
        assert len(dialect_of(connection).claim(explained, table_queue_name("tests", queue), 100, 60)) == 100
    return str(explained.plan)


@pytest.mark.parametrize("statistics", ["none", "fresh", "of an empty queue"])
def test_a_claim_on_postgresql_walks_the_index_whatever_the_statistics_say(postgres: str, statistics: str) -> None:
    if statistics == "of an empty queue":
        other = fill(postgres, 200)
        other.lease(200)
        rows(postgres, "ANALYZE django_cluster_queuedtask")
    broker = fill(postgres)
    if statistics == "fresh":
        rows(postgres, "ANALYZE django_cluster_queuedtask")

    plan = plan_of_claim(postgres, broker.queue)

    assert "Index Scan using django_cluster_queue_order" in plan
    assert "Seq Scan" not in plan
    assert "Sort Key: django_cluster_queuedtask.lane" not in plan


def test_a_claim_on_sqlite_searches_and_never_scans_the_table(sqlite: str) -> None:
    broker = fill(sqlite)

    plan = plan_of_claim(sqlite, broker.queue)

    assert "USING COVERING INDEX django_cluster_queue_order (queue=? AND lane<?)" in plan
    assert "SCAN django_cluster_queuedtask" not in plan


def test_a_claim_on_mariadb_reads_the_index_in_its_order(mariadb: str) -> None:
    broker = fill(mariadb)

    plan = plan_of_claim(mariadb, broker.queue)

    assert '"key": "django_cluster_queue_order"' in plan
    assert "filesort" not in plan


# -- promotion ------------------------------------------------------------------------------------


def test_more_rows_than_one_look_promotes_become_ready_in_turn(alias: str) -> None:
    broker = open_orm(alias)
    count = MAX_PROMOTIONS + 200
    broker.enqueue([Message(str(number), not_before=time.time() + 1.0) for number in range(count)])
    eventually(lambda: broker.size().ready == count)

    assert payloads(lease_all(broker, count)) == [str(number) for number in range(count)]


def test_a_busy_broker_sees_what_has_become_due_meanwhile(alias: str) -> None:
    broker = open_orm(alias)
    broker.enqueue([Message("urgent", priority=9, not_before=time.time() + 0.3)] + [Message("x")] * 1000)
    came: list[str] = []

    def lease_one() -> bool:
        came.extend(payloads(broker.lease(1)))
        return "urgent" in came

    eventually(lease_one)

    assert len(came) < 1000


# -- leases that have ended, and claims that come late ---------------------------------------------


def make_ready_again(broker: Broker) -> None:
    """Return when the leases of the broker have ended, and what it leased is ready for others."""
    eventually(lambda: list(broker.lease(0)) == [] and broker.peek()[0].due is None)


def test_what_no_process_has_leased_since_is_renewed_after_its_lease_has_ended(alias: str) -> None:
    broker = open_orm(alias, lease=0.4)
    broker.enqueue([Message("one")])
    held = receipts(broker.lease(1))
    make_ready_again(broker)

    patient = open_orm(alias, queue=broker.queue, lease=60)
    assert list(patient.renew(held)) == []

    assert list(broker.lease(1)) == []
    assert [(each.leased, each.attempts) for each in broker.peek()] == [(True, 1)]


def test_what_no_process_has_leased_since_is_acknowledged_after_its_lease_has_ended(alias: str) -> None:
    broker = open_orm(alias, lease=0.4)
    broker.enqueue([Message("one")])
    held = receipts(broker.lease(1))
    make_ready_again(broker)

    broker.acknowledge(held)

    assert broker.size().total == 0


def test_what_was_released_is_not_acknowledged(alias: str) -> None:
    broker = open_orm(alias)
    broker.enqueue([Message("one")])
    held = receipts(broker.lease(1))
    broker.release(deliveries_of(held))

    broker.acknowledge(held)

    assert list(broker.renew(held)) == held
    assert broker.size().ready == 1


def test_a_claim_does_nothing_after_the_moment_that_it_names(alias: str) -> None:
    broker = open_orm(alias)
    broker.enqueue([Message("one")])

    assert list(broker.lease(1, not_after=time.monotonic())) == []
    assert payloads(broker.lease(1, not_after=time.monotonic() + 60)) == ["one"]


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
def test_a_claim_that_a_frozen_server_carries_out_late_takes_nothing(kind: str, request: pytest.FixtureRequest) -> None:
    alias, server = request.getfixturevalue(kind), request.getfixturevalue(f"{kind}_server")
    broker = open_orm(alias, lease=1.0)
    broker.enqueue([Message("runs")])
    held = receipts(broker.lease(1))
    open_orm(alias, queue=broker.queue).enqueue([Message("waits")] * 3)
    connected, frozen = Event(), Event()

    def claim() -> list[str]:
        late = open_orm(alias, queue=broker.queue)
        late.lease(0)
        connected.set()
        frozen.wait(10)
        taken = payloads(late.lease(10, not_after=time.monotonic() + 0.5))
        late.close()
        return taken

    with ThreadPoolExecutor(1) as pool:
        claimed = pool.submit(claim)
        connected.wait(10)
        with server.paused():
            frozen.set()
            time.sleep(1.5)  # the lease of what runs ends meanwhile
        assert claimed.result(20) == []

    assert list(broker.renew(held)) == []


def test_after_a_server_was_frozen_other_clusters_renew_first(
    postgres: str, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orm, "SLOW_ANSWER_SECONDS", 0.5)
    broker = open_orm(postgres, lease=1.0)
    broker.enqueue([Message("runs")])
    held = receipts(broker.lease(1))
    idle = Event()

    def take() -> list[str]:
        other = open_orm(postgres, queue=broker.queue, lease=1.0)
        other.lease(1)
        idle.set()
        taken = payloads(other.lease(1, wait=4.0))
        other.close()
        return taken

    with ThreadPoolExecutor(1) as pool:
        taken = pool.submit(take)
        idle.wait(10)
        with postgres_server.paused():
            time.sleep(2.5)
        time.sleep(0.5)  # a renewal that comes a little later than the server
        end = time.monotonic() + 4.0
        while time.monotonic() < end:
            assert list(broker.renew(held)) == []
            time.sleep(0.1)
        assert taken.result(20) == []
