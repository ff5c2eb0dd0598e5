"""How an idle ORM broker is woken at the commit, at next to no cost; and how it does where nobody wakes it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event, Timer
from typing import Any

import pytest
from django.db import connections, transaction

from django_cluster.brokers import orm
from django_cluster.brokers.base import Broker
from django_cluster.brokers.messages import Message
from django_cluster.core.queue_names import table_queue_name
from django_cluster.testing.contracts import deliveries_of, payloads, receipts
from tests.brokers import known_database, opener, queue_database, queue_on
from tests.servers import MariaDBServer, PgBouncer, PostgresServer

NEVER = 60.0
"""Seconds between two looks of a broker that has to be woken in these tests."""

SOON = 1.0

INSERT = (
    "INSERT INTO django_cluster_queuedtask (queue, lane, due, priority, lease_number, leased, attempts, payload)"
    " VALUES (%s, 0, 0, 0, 0, FALSE, 0, %s)"
)


@pytest.fixture(autouse=True)
def databases(django_db_blocker: Any) -> Iterator[None]:
    """These tests use databases of their own, so they need none of pytest-django's."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[str]:
    with queue_database({"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "queue.sqlite3")}) as alias:
        yield alias


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Iterator[str]:
    with queue_on(postgres_server) as alias:
        yield alias


@pytest.fixture(params=["sqlite", "postgres"])
def alias(request: pytest.FixtureRequest) -> str:
    """Each of the databases that wake."""
    alias: str = request.getfixturevalue(request.param)
    return alias


@pytest.fixture
def sleepy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Brokers hardly ever look without having been woken."""
    monkeypatch.setattr(orm, "SAFETY_POLL_SECONDS", NEVER)


def open_orm(alias: str, **changes: Any) -> Broker:
    broker = opener("orm", alias=alias)(**{"poll": NEVER, "lease": 2 * NEVER, **changes})
    broker.prepare()
    return broker


class Sleeper:
    """A broker in a thread, and so on a connection, of its own that waits for one message."""

    def __init__(self, alias: str, wait: float = 20.0) -> None:
        self._alias, self._wait = alias, wait
        self._idle = Event()
        self._pool = ThreadPoolExecutor(1)
        self.queue = open_orm(alias).queue

    def _run(self) -> tuple[list[str], float]:
        broker = open_orm(self._alias, queue=self.queue)
        try:
            assert list(broker.lease(1, wait=0.05)) == []
            self._idle.set()
            return payloads(broker.lease(1, wait=self._wait)), time.monotonic()
        finally:
            broker.close()

    def __enter__(self) -> Future[tuple[list[str], float]]:
        future = self._pool.submit(self._run)
        assert self._idle.wait(10)
        return future

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown()


class Counted:
    """Counts the queries of a connection."""

    def __init__(self) -> None:
        self.queries = 0

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        self.queries += 1
        return execute(sql, params, many, context)


def idle_queries(broker: Broker, alias: str) -> int:
    """How many queries a pusher's waits cost in a second."""
    counted = Counted()
    with connections[alias].execute_wrapper(counted):
        for _ in range(4):
            assert list(broker.lease(1, wait=0.25)) == []
    return counted.queries


# -- being woken ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("sleepy")
def test_what_another_connection_enqueues_ends_the_wait(alias: str) -> None:
    sleeper = Sleeper(alias)
    with sleeper as future:
        began = time.monotonic()
        open_orm(alias, queue=sleeper.queue).enqueue([Message("one")])

        came, moment = future.result(20)

    assert came == ["one"]
    assert moment - began < SOON


@pytest.mark.usefixtures("sleepy")
def test_the_wait_ends_at_the_commit_and_not_before(alias: str) -> None:
    sleeper = Sleeper(alias)
    with sleeper as future:
        with transaction.atomic(using=alias):
            open_orm(alias, queue=sleeper.queue).enqueue([Message("one"), Message("two")])
            with pytest.raises(TimeoutError):
                future.result(0.3)
        began = time.monotonic()

        came, moment = future.result(20)

    assert came == ["one"]
    assert moment - began < SOON


@pytest.mark.usefixtures("sleepy")
def test_what_is_released_ends_the_wait(alias: str) -> None:
    sleeper = Sleeper(alias)
    other = open_orm(alias, queue=sleeper.queue)
    other.enqueue([Message("one")])
    held = receipts(other.lease(1))
    with sleeper as future:
        began = time.monotonic()
        other.release(deliveries_of(held))

        came, moment = future.result(20)

    assert came == ["one"]
    assert moment - began < SOON


@pytest.mark.usefixtures("sleepy")
def test_what_the_same_connection_enqueues_is_not_overslept(alias: str) -> None:
    broker = open_orm(alias)
    assert list(broker.lease(1, wait=0.05)) == []

    open_orm(alias, queue=broker.queue).enqueue([Message("one")])

    assert payloads(broker.lease(1, wait=20)) == ["one"]


@pytest.mark.usefixtures("sleepy")
def test_no_message_of_another_process_is_overslept(alias: str) -> None:
    broker = open_orm(alias)
    entry = {key: value for key, value in connections[alias].settings_dict.items() if key != "TEST"}
    program = [sys.executable, "-m", "tests.integration.enqueuing_program", json.dumps(entry), broker.queue]
    came: list[str] = []

    with subprocess.Popen(program, stdin=subprocess.PIPE, text=True) as process:
        assert process.stdin
        for number in range(200):
            process.stdin.write(f"{number}\n")
            process.stdin.flush()
            deliveries = broker.lease(1, wait=20)
            broker.acknowledge(receipts(deliveries))
            came += payloads(deliveries)

    assert came == [str(number) for number in range(200)]


@pytest.mark.usefixtures("sleepy")
def test_rows_become_due_during_a_wait(alias: str) -> None:
    broker = open_orm(alias)
    due = time.time() + 0.4
    broker.enqueue([Message("known", not_before=due)])

    assert payloads(broker.lease(1, wait=20)) == ["known"]
    assert due - 0.05 < time.time() < due + SOON


@pytest.mark.usefixtures("sleepy")
def test_rows_that_are_parked_during_a_wait_become_due_in_it(alias: str) -> None:
    sleeper = Sleeper(alias)
    with sleeper as future:
        began = time.monotonic()
        open_orm(alias, queue=sleeper.queue).enqueue([Message("later", not_before=time.time() + 0.4)])

        came, moment = future.result(20)

    assert came == ["later"]
    assert 0.3 < moment - began < 0.4 + SOON


@pytest.mark.usefixtures("sleepy")
def test_a_broker_passes_on_the_words_for_another_queue_of_its_connection(postgres: str) -> None:
    one, other = open_orm(postgres), open_orm(postgres)
    for broker in (one, other):
        assert list(broker.lease(1, wait=0.05)) == []
    with known_database({**connections[postgres].settings_dict}) as another:
        open_orm(another, queue=other.queue).enqueue([Message("for the other")])

    assert list(one.lease(1, wait=0.2)) == []
    assert payloads(other.lease(1, wait=20)) == ["for the other"]


@pytest.mark.usefixtures("sleepy")
def test_a_connection_that_dies_during_a_wait_is_replaced_and_listens_again(postgres: str) -> None:
    sleeper = Sleeper(postgres)
    with sleeper as future:
        with connections[postgres].cursor() as cursor:
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            assert cursor.fetchone() == (1,)
        with pytest.raises(TimeoutError):
            future.result(0.3)
        open_orm(postgres, queue=sleeper.queue).enqueue([Message("one")])

        assert future.result(20)[0] == ["one"]


# -- what a wait costs, and when it ends ----------------------------------------------------------


def test_an_idle_second_costs_next_to_no_queries(alias: str) -> None:
    broker = open_orm(alias, poll=0.05)
    broker.lease(1, wait=0.1)

    assert idle_queries(broker, alias) <= 2


@pytest.mark.parametrize("database", ["sqlite", "postgres", "mariadb"])
def test_a_wait_in_a_transaction_ends_in_time(database: str, request: pytest.FixtureRequest) -> None:
    alias = request.getfixturevalue(database)
    broker = open_orm(alias)

    with transaction.atomic(using=alias):
        began = time.monotonic()
        assert list(broker.lease(1, wait=0.2)) == []
        elapsed = time.monotonic() - began
    broker.enqueue([Message("after")])

    assert 0.2 <= elapsed < SOON
    assert payloads(broker.lease(1, wait=5)) == ["after"]


@pytest.fixture
def interrupted_by_usr1() -> Iterator[None]:
    before = signal.signal(signal.SIGUSR1, interrupt)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("interrupted_by_usr1")
def test_a_signal_handler_may_end_the_wait(alias: str) -> None:
    broker = open_orm(alias)
    Timer(0.2, os.kill, [os.getpid(), signal.SIGUSR1]).start()
    began = time.monotonic()

    with pytest.raises(Interrupted):
        broker.lease(1, wait=20)

    assert time.monotonic() - began < 0.2 + SOON


class Interrupted(Exception):
    """Raised by the handler of a signal."""


def interrupt(number: int, frame: object) -> None:
    raise Interrupted


# -- where nobody wakes us ------------------------------------------------------------------------


@pytest.fixture
def mariadb(mariadb_server: MariaDBServer) -> Iterator[str]:
    with queue_on(mariadb_server) as alias:
        yield alias


@pytest.mark.parametrize(("database", "blocking"), [("sqlite", True), ("postgres", True), ("mariadb", False)])
def test_a_broker_says_whether_its_database_wakes_it(
    database: str, blocking: bool, request: pytest.FixtureRequest
) -> None:
    assert open_orm(request.getfixturevalue(database)).capabilities.blocking is blocking


def test_mariadb_is_asked_again_and_again(mariadb: str) -> None:
    broker = open_orm(mariadb, poll=0.05)
    Timer(0.2, enqueue_in_thread, [mariadb, broker.queue, ["one"]]).start()

    assert payloads(broker.lease(1, wait=20)) == ["one"]


@pytest.mark.usefixtures("sleepy")
def test_behind_a_pooler_the_broker_looks_again_and_again(postgres: str, pgbouncer_server: PgBouncer) -> None:
    with known_database(pgbouncer_server.database(connections[postgres].settings_dict["NAME"])) as pooled:
        broker = open_orm(pooled, poll=0.05)
        assert list(broker.lease(1, wait=0.1)) == []
        Timer(0.2, enqueue_in_thread, [postgres, broker.queue, ["one"]]).start()

        came = payloads(broker.lease(1, wait=20))

    assert came == ["one"]
    assert not broker.capabilities.blocking


def test_a_broker_that_was_not_told_looks_often_until_it_is_told_again(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = open_orm(postgres, poll=0.05)
    monkeypatch.setattr(orm, "SAFETY_POLL_SECONDS", 0.3)
    broker.lease(1, wait=0.05)
    insert_silently(postgres, broker.queue, "found late")
    assert payloads(broker.lease(1, wait=20)) == ["found late"]
    monkeypatch.setattr(orm, "SAFETY_POLL_SECONDS", NEVER)
    broker.lease(1, wait=0.05)

    insert_silently(postgres, broker.queue, "found soon")
    assert payloads(broker.lease(1, wait=20)) == ["found soon"]
    broker.enqueue([Message("told")])
    assert payloads(broker.lease(1, wait=20)) == ["told"]
    broker.lease(1, wait=0.05)

    assert idle_queries(broker, postgres) <= 2


def enqueue_in_thread(alias: str, queue: str, names: Sequence[str]) -> None:
    broker = open_orm(alias, queue=queue)
    broker.enqueue([Message(name) for name in names])
    broker.close()


def insert_silently(alias: str, queue: str, name: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(INSERT, [table_queue_name("tests", queue), name])
