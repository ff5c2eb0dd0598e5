"""Who sends, or reads a result, in a process of the project's own waits for a silent database for a while only."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from threading import enumerate as all_threads
from typing import Any

import pytest
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_cluster.brokers.base import Broker
from django_cluster.brokers.messages import Message
from django_cluster.database import session as session_module
from django_cluster.database import statement_watchdog, watchdog
from django_cluster.database.statement_watchdog import StatementWatchdog, statement_timeout
from django_cluster.errors import BrokerUnavailable, StoreUnavailable
from django_cluster.models import Task
from django_cluster.stores.session import results_session
from django_cluster.testing.contracts import eventually, payloads
from tests.brokers import known_database, opener, queue_on
from tests.servers import MariaDBServer, PostgresServer
from tests.servers.tunnel import Tunnel

LIMIT = 2.0
"""Seconds, instead of the many of a real sender."""


@pytest.fixture(autouse=True)
def databases(django_db_blocker: Any) -> Iterator[None]:
    """These tests use databases of their own, so they need none of pytest-django's."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture(params=["postgres", "mariadb"])
def server(request: pytest.FixtureRequest) -> PostgresServer | MariaDBServer:
    found: PostgresServer | MariaDBServer = request.getfixturevalue(f"{request.param}_server")
    return found


@pytest.fixture
def alias(server: PostgresServer | MariaDBServer) -> Iterator[str]:
    with queue_on(server) as alias:
        with connections[alias].schema_editor() as editor:
            editor.create_model(Task)
        yield alias


@pytest.fixture
def tunnel(server: PostgresServer | MariaDBServer) -> Iterator[Tunnel]:
    socket = server.socket if isinstance(server, MariaDBServer) else f"{server.folder}/.s.PGSQL.5432"
    with Tunnel(socket, b"never said") as tunnel:
        yield tunnel


@pytest.fixture
def tunnelled(alias: str, tunnel: Tunnel, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The same database through the tunnel, for a sender with a short limit."""

    def shortly(connection: BaseDatabaseWrapper, seconds: float) -> AbstractContextManager[None]:
        return statement_timeout(connection, min(seconds, LIMIT))

    monkeypatch.setattr(watchdog, "statement_timeout", shortly)
    monkeypatch.setattr(watchdog, "CONNECT_SECONDS", int(LIMIT))
    monkeypatch.setattr(session_module, "WRITE_TIMEOUT", LIMIT)
    with known_database({**connections[alias].settings_dict, "HOST": "127.0.0.1", "PORT": str(tunnel.port)}) as name:
        yield name


@pytest.fixture
def sender(tunnelled: str) -> Broker:
    broker = opener("orm", alias=tunnelled)()
    broker.enqueue([Message("zero")])
    return broker


def kept(alias: str, sender: Broker) -> list[str]:
    return sorted(payloads(opener("orm", alias=alias)(queue=sender.queue).lease(10)))


def test_a_sender_replaces_a_forgotten_connection_and_says_so(
    alias: str, sender: Broker, tunnel: Tunnel, caplog: pytest.LogCaptureFixture
) -> None:
    tunnel.forget()

    with caplog.at_level(logging.WARNING, "django_cluster"):
        sender.enqueue([Message("one")])

    (line,) = [record.getMessage() for record in caplog.records]
    assert "no answer for 2 s; connection closed" in line
    assert kept(alias, sender) == ["one", "zero"]


def test_a_sender_to_whom_nobody_answers_is_told_in_time(alias: str, sender: Broker, tunnel: Tunnel) -> None:
    tunnel.hold()  # new connections are taken, too, and nothing is ever said on them
    try:
        with pytest.raises(BrokerUnavailable):
            sender.enqueue([Message("one")])
    finally:
        tunnel.let_go()

    eventually(lambda: sender.enqueue([Message("two")]) is None)


def test_within_the_callers_transaction_a_forgotten_connection_ends_it(
    alias: str, tunnelled: str, sender: Broker, tunnel: Tunnel
) -> None:
    def work() -> None:
        with transaction.atomic(using=tunnelled):
            sender.enqueue([Message("one")])
            tunnel.forget()
            sender.enqueue([Message("two")])

    with pytest.raises(BrokerUnavailable):
        work()

    sender.enqueue([Message("three")])
    # The row of "one" is there for nobody: the server has not been told to keep it.
    assert kept(alias, sender) == ["three", "zero"]


def test_who_reads_a_result_replaces_a_forgotten_connection(tunnelled: str, tunnel: Tunnel) -> None:
    session, rows = results_session(tunnelled), Task.objects.using(tunnelled)
    assert session.read(rows.count) == 0
    tunnel.forget()

    assert session.read(rows.count) == 0


def test_within_the_callers_transaction_a_read_that_is_not_answered_is_an_error(tunnelled: str, tunnel: Tunnel) -> None:
    session, rows = results_session(tunnelled), Task.objects.using(tunnelled)

    def work() -> None:
        with transaction.atomic(using=tunnelled):
            session.read(rows.count)
            tunnel.forget()
            session.read(rows.count)

    with pytest.raises(StoreUnavailable):
        work()

    assert session.read(rows.count) == 0


def test_what_the_project_does_on_its_connection_may_take_as_long_as_it_likes(
    alias: str, tunnelled: str, sender: Broker
) -> None:
    connection = connections[tunnelled]
    before = list(connection.execute_wrappers)
    nap = "SELECT pg_sleep(4)" if connection.vendor == "postgresql" else "SELECT SLEEP(4)"

    with transaction.atomic(using=tunnelled):
        sender.enqueue([Message("one")])
        with connection.cursor() as cursor:
            cursor.execute(nap)
        sender.enqueue([Message("two")])

    assert connection.execute_wrappers == before
    assert kept(alias, sender) == ["one", "two", "zero"]


def test_statements_of_ours_that_follow_each_other_have_the_limit_each(alias: str, tunnelled: str) -> None:
    nap = "SELECT pg_sleep(0.8)" if connections[tunnelled].vendor == "postgresql" else "SELECT SLEEP(0.8)"

    def work() -> int:
        with connections[tunnelled].cursor() as cursor:
            for _ in range(5):
                cursor.execute(nap)
        return 5

    session = results_session(tunnelled)
    session.read(lambda: None)
    first = connections[tunnelled].connection
    assert session.read(work) == 5
    assert connections[tunnelled].connection is first


def answers_threads() -> list[str]:
    return [thread.name for thread in all_threads() if thread.name == "statement-watchdog"]


@pytest.mark.filterwarnings("ignore:This process")  # the tests have threads of their own
def test_no_fork_copies_a_process_with_the_watching_thread(sender: Broker) -> None:
    """CPython (3.12 and later) warns of a fork of a process with threads, and warnings are errors here."""
    assert answers_threads() == ["statement-watchdog"]

    child = os.fork()
    if child == 0:
        os._exit(
            0 if statement_watchdog._watchdog._thread is None and not statement_watchdog._watchdog._statements else 1
        )
    _, status = os.waitpid(child, 0)

    assert status == 0
    assert answers_threads() == []
    sender.enqueue([Message("one")])
    assert answers_threads() == ["statement-watchdog"]


def test_the_watching_thread_ends_when_there_is_nothing_to_watch(
    sender: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statement_watchdog, "IDLE_TICKS", 1)

    eventually(lambda: answers_threads() == [])

    sender.enqueue([Message("one")])


def test_after_a_pause_of_this_process_itself_an_answer_has_its_time_again(
    tunnelled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = StatementWatchdog()
    connection = connections[tunnelled]
    connection.ensure_connection()

    with limit.within(connection, 10.0):
        before = limit._statements[id(connection)].until
        limit._extend(25.0)
        assert limit._statements[id(connection)].until == before + 25.0
    limit.pause()
