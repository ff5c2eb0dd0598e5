"""A server that is there and of no use: silent, or read-only behind an old socket. It is left for another one."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from django.db import connections, transaction

from django_cluster.brokers.base import Broker
from django_cluster.brokers.messages import Message
from django_cluster.cluster.roles.scheduler import ServerLoop
from django_cluster.core.backoff import ReconnectBackoff
from django_cluster.database import watchdog
from django_cluster.database.clock import DatabaseServerClock
from django_cluster.database.connection import is_wrong_server
from django_cluster.database.watchdog import MIN_WAIT_SECONDS, ConnectionWatchdog, driver_timeouts, max_wait
from django_cluster.errors import BrokerUnavailable, StoreUnavailable
from django_cluster.models import Heartbeat, OperatorCommand, QueuedTask, Schedule, Task
from django_cluster.stores.session import results_session
from django_cluster.testing.contracts import eventually, payloads
from tests.brokers import known_database, opener, queue_on
from tests.servers import MariaDBServer, PostgresServer, require
from tests.servers.tunnel import Tunnel

Server = PostgresServer | MariaDBServer
MODELS = (Heartbeat, OperatorCommand, Schedule, Task)
KINDS: dict[str, type[Server]] = {"postgres": PostgresServer, "mariadb": MariaDBServer}


@pytest.fixture(autouse=True)
def databases(django_db_blocker: Any) -> Iterator[None]:
    """These tests use databases of their own, so they need none of pytest-django's."""
    with django_db_blocker.unblock():
        yield


def socket_of(server: Server) -> str:
    return server.socket if isinstance(server, MariaDBServer) else f"{server.folder}/.s.PGSQL.5432"


def through(alias: str, tunnel: Tunnel, **changes: Any) -> dict[str, Any]:
    return {**connections[alias].settings_dict, "HOST": "127.0.0.1", "PORT": str(tunnel.port), **changes}


# -- silence --------------------------------------------------------------------------------------


@pytest.fixture(params=["postgres", "mariadb"])
def silent(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str, Tunnel]]:
    """An alias, the same through a tunnel, and the tunnel; this thread waits for four seconds at most."""
    server = request.getfixturevalue(f"{request.param}_server")
    with queue_on(server) as alias, Tunnel(socket_of(server), b"never said") as tunnel:
        with connections[alias].schema_editor() as editor:
            for model in MODELS:
                editor.create_model(model)
        with known_database(through(alias, tunnel)) as tunnelled:
            monkeypatch.setattr(watchdog, "_watchdog", ConnectionWatchdog(4.0))
            yield alias, tunnelled, tunnel


def test_a_forgotten_connection_of_a_broker_is_replaced_and_said(
    silent: tuple[str, str, Tunnel], caplog: pytest.LogCaptureFixture
) -> None:
    _, tunnelled, tunnel = silent
    broker = opener("orm", alias=tunnelled)()
    broker.enqueue([Message("one")])
    tunnel.forget()

    with caplog.at_level(logging.WARNING, "django_cluster"):
        assert payloads(broker.lease(1)) == ["one"]

    (line,) = [record.getMessage() for record in caplog.records]
    assert "no answer for 4 s; connection closed" in line


def test_a_forgotten_connection_is_noticed_while_a_broker_sleeps(silent: tuple[str, str, Tunnel]) -> None:
    alias, tunnelled, tunnel = silent
    broker = opener("orm", alias=tunnelled)()
    assert list(broker.lease(1)) == []
    tunnel.forget()
    opener("orm", alias=alias)(queue=broker.queue).enqueue([Message("one")])

    began = time.monotonic()
    eventually_leased: list[str] = []
    while not eventually_leased and time.monotonic() - began < 20:
        eventually_leased = payloads(broker.lease(1, wait=0.5))

    assert eventually_leased == ["one"]


def test_a_forgotten_connection_of_a_store_is_replaced(silent: tuple[str, str, Tunnel]) -> None:
    _, tunnelled, tunnel = silent
    session, rows = results_session(tunnelled), QueuedTask.objects.using(tunnelled)
    assert session.read(rows.count) == 0

    tunnel.forget()
    assert session.read(rows.count) == 0

    tunnel.forget()
    session.run(lambda: rows.update(attempts=0))


def test_a_connection_that_is_forgotten_within_a_transaction_is_an_error_in_time(
    silent: tuple[str, str, Tunnel],
) -> None:
    _, tunnelled, tunnel = silent
    session, rows = results_session(tunnelled), QueuedTask.objects.using(tunnelled)

    def work() -> None:
        with session.transaction():
            rows.update(attempts=0)
            tunnel.forget()
            rows.update(attempts=1)

    with pytest.raises(StoreUnavailable):
        work()

    session.run(lambda: rows.update(attempts=2))


def test_a_forgotten_connection_of_a_scheduler_is_replaced(silent: tuple[str, str, Tunnel]) -> None:
    _, tunnelled, tunnel = silent
    clock = DatabaseServerClock(tunnelled)
    clock()
    tunnel.forget()

    def look() -> float:
        DatabaseServerClock(tunnelled)()
        return 0.0

    round_ = ServerLoop([look], ReconnectBackoff("The schedule table"))
    eventually(lambda: round_.run(alone=True) == 0.0)


def test_a_statement_that_takes_long_and_others_that_follow_each_other_are_let_be(
    silent: tuple[str, str, Tunnel], caplog: pytest.LogCaptureFixture
) -> None:
    _, tunnelled, _ = silent
    nap = "SELECT pg_sleep(1.0)" if connections[tunnelled].vendor == "postgresql" else "SELECT SLEEP(1.0)"

    def work() -> None:
        with connections[tunnelled].cursor() as cursor:
            for _ in range(5):
                cursor.execute(nap)

    results_session(tunnelled).run(work)

    assert not caplog.records


def test_threads_of_user_code_wait_as_long_as_they_like(silent: tuple[str, str, Tunnel]) -> None:
    alias, _, _ = silent
    vendor = connections[alias].vendor
    nap = "SELECT pg_sleep(6)" if vendor == "postgresql" else "SELECT SLEEP(6)"

    def work() -> None:
        with connections[alias].cursor() as cursor:
            cursor.execute(nap)
        connections[alias].close()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: results_session(alias).run(work)).result(30)


def test_a_row_lock_is_waited_for_by_mariadb_no_longer_than_by_us(mariadb_server: MariaDBServer) -> None:
    """Or else a statement that we have given up waits on for 50 seconds, and keeps the locks that it has."""
    with queue_on(mariadb_server) as alias, known_database(connections[alias].settings_dict) as other:
        opener("orm", alias=alias)().enqueue([Message("one")])
        rows = QueuedTask.objects.using(alias)
        connections[alias].ensure_connection()
        watchdog.limit_lock_waits(connections[alias], 2.5)

        with transaction.atomic(using=other):
            QueuedTask.objects.using(other).update(attempts=1)
            began = time.monotonic()
            with pytest.raises(StoreUnavailable, match="Lock wait timeout"):
                results_session(alias).run(lambda: rows.update(attempts=2), retry_seconds=0.0)
            assert time.monotonic() - began < 15
        results_session(alias).run(lambda: rows.update(attempts=3))


def test_each_connection_of_a_clusters_process_has_that_limit_and_a_shorter_one_is_kept(
    mariadb_server: MariaDBServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with queue_on(mariadb_server) as alias:
        connections[alias].close()
        monkeypatch.setattr(watchdog, "_watchdog", None)
        watchdog.start_watchdog(15.0)
        with connections[alias].cursor() as cursor:
            for _ in range(2):
                cursor.execute("SELECT @@innodb_lock_wait_timeout")
                assert cursor.fetchone() == (12,)
                watchdog.limit_lock_waits(connections[alias], 60.0)


def test_the_limit_follows_the_lease_and_is_never_short() -> None:
    assert max_wait(2) == MIN_WAIT_SECONDS
    assert max_wait(60) == 90


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "MySQLdb", "pymysql"])
def test_each_driver_gets_a_limit_for_connecting(driver: str) -> None:
    assert 0 < driver_timeouts(driver, 15)["connect_timeout"] <= 15


def test_a_driver_that_is_not_known_gets_nothing() -> None:
    assert driver_timeouts("sqlite3", 15) == {}


# -- fail-over ------------------------------------------------------------------------------------


class Pair:
    """Two servers with the same tables behind one address. The old one becomes read-only, the new one takes over."""

    def __init__(self, kind: str) -> None:
        require(kind)
        self.old, self.new = (KINDS[kind]().start() for _ in range(2))
        self.tunnel = Tunnel(socket_of(self.old), b"never said")
        self.name = f"pair_{uuid4().hex}"
        for server in (self.old, self.new):
            server.create_database(self.name)
            with self.known(server) as alias, connections[alias].schema_editor() as editor:
                from django_cluster.models import AcknowledgedMessages

                for model in (QueuedTask, AcknowledgedMessages, *MODELS):
                    editor.create_model(model)

    def known(self, server: Server) -> Any:
        return known_database(server.database(self.name))

    @property
    def entry(self) -> dict[str, Any]:
        """The settings of the project: an account that may not write to a read-only server."""
        entry = {**self.old.database(self.name), "HOST": "127.0.0.1", "PORT": str(self.tunnel.port)}
        return {**entry, "USER": "app"} if isinstance(self.old, MariaDBServer) else entry

    def fail_over(self) -> None:
        self.tunnel.lead_to(socket_of(self.new))
        if isinstance(self.old, MariaDBServer):
            self.old._sql("SET GLOBAL read_only = 1")
        else:
            self.old._sql("ALTER SYSTEM SET default_transaction_read_only = on")
            self.old._sql("SELECT pg_reload_conf()")
            eventually(lambda: self.is_read_only)

    @property
    def is_read_only(self) -> bool:
        with self.known(self.old) as alias, connections[alias].cursor() as cursor:
            cursor.execute("SHOW default_transaction_read_only")
            return bool(cursor.fetchone() == ("on",))


@pytest.fixture(scope="module", params=["postgres", "mariadb"])
def servers(request: pytest.FixtureRequest, django_db_blocker: Any) -> Iterator[Pair]:
    with django_db_blocker.unblock():
        pair = Pair(request.param)
        if isinstance(pair.old, MariaDBServer):
            for server in (pair.old, pair.new):
                for place in ("localhost", "127.0.0.1"):
                    server._sql(f"CREATE USER app@{place!r}; GRANT ALL ON `{pair.name}`.* TO app@{place!r}")
        with pair.tunnel:
            yield pair
        pair.old.stop()
        pair.new.stop()


@pytest.fixture
def pair(servers: Pair) -> Iterator[Pair]:
    """As before a fail-over."""
    servers.tunnel.lead_to(socket_of(servers.old))
    yield servers
    if isinstance(servers.old, MariaDBServer):
        servers.old._sql("SET GLOBAL read_only = 0")
    else:
        servers.old._sql("ALTER SYSTEM RESET default_transaction_read_only")
        servers.old._sql("SELECT pg_reload_conf()")
        eventually(lambda: not servers.is_read_only)


@pytest.fixture
def alias(pair: Pair) -> Iterator[str]:
    with known_database(pair.entry) as alias:
        yield alias


@pytest.fixture
def broker(alias: str) -> Broker:
    broker = opener("orm", alias=alias)()
    broker.lease(1)
    return broker


def test_a_sender_goes_to_the_new_server(pair: Pair, broker: Broker) -> None:
    pair.fail_over()

    broker.enqueue([Message("one")])

    with pair.known(pair.new) as new:
        assert payloads(opener("orm", alias=new)(queue=broker.queue).lease(1)) == ["one"]


def test_an_idle_broker_that_only_looks_goes_to_the_new_server(pair: Pair, broker: Broker) -> None:
    pair.fail_over()
    with pair.known(pair.new) as new:
        opener("orm", alias=new)(queue=broker.queue).enqueue([Message("one")])

    assert payloads(broker.lease(1)) == ["one"]


def test_a_broker_that_sleeps_in_a_listen_goes_to_the_new_server_within_seconds(pair: Pair, broker: Broker) -> None:
    with ThreadPoolExecutor(1) as pool:

        def wait() -> list[str]:
            mine = opener("orm", alias=str(broker.database))(queue=broker.queue)
            found = payloads(mine.lease(1, wait=20))
            mine.close()
            return found

        waiting = pool.submit(wait)
        pair.fail_over()
        with pair.known(pair.new) as new:
            opener("orm", alias=new)(queue=broker.queue).enqueue([Message("one")])
        assert waiting.result(30) == ["one"]


def test_what_is_leased_at_the_old_server_is_settled_at_the_new_one(pair: Pair, broker: Broker) -> None:
    broker.enqueue([Message("one")])
    (held,) = broker.lease(1)
    pair.fail_over()

    assert list(broker.renew([held.receipt])) == [held.receipt]
    broker.acknowledge([held.receipt])


def test_a_store_goes_to_the_new_server(pair: Pair, alias: str) -> None:
    session = results_session(alias)
    session.read(Task.objects.using(alias).count)
    pair.fail_over()

    session.run(lambda: Task.objects.using(alias).filter(id="x").update(success=True))


def test_a_batch_of_a_store_is_an_error_once_and_then_at_the_new_server(pair: Pair, alias: str) -> None:
    session = results_session(alias)
    session.read(Task.objects.using(alias).count)
    pair.fail_over()

    def write() -> None:
        with session.transaction():
            Task.objects.using(alias).filter(id="x").update(success=True)

    with pytest.raises(StoreUnavailable):
        write()
    write()


def test_a_batch_whose_acknowledgement_meets_the_old_server_is_at_the_new_one_next_time(
    pair: Pair, alias: str, broker: Broker
) -> None:
    session = results_session(alias)
    pair.fail_over()

    def write() -> None:
        with session.transaction():
            broker.acknowledge(["1:1"])

    with pytest.raises(BrokerUnavailable):
        write()
    write()


def test_an_idle_scheduler_goes_to_the_new_server(pair: Pair, alias: str) -> None:
    DatabaseServerClock(alias)()
    pair.fail_over()

    def look() -> float:
        DatabaseServerClock(alias)()
        return 0.0

    round_ = ServerLoop([look], ReconnectBackoff("The schedule table"))
    assert round_.run(alone=True) > 0
    eventually(lambda: round_.run(alone=True) == 0.0)


def test_a_server_without_room_for_a_session_is_said_at_once_and_left(pair: Pair) -> None:
    limited = {"postgres": "CONNECTION LIMIT 0", "mariadb": "WITH MAX_USER_CONNECTIONS 1"}
    kind = "mariadb" if isinstance(pair.old, MariaDBServer) else "postgres"
    for server, limit in ((pair.old, limited[kind]), (pair.new, "")):
        if kind == "mariadb":
            server._sql(f"CREATE OR REPLACE USER few@localhost {limit}")
            server._sql(f"GRANT ALL ON `{pair.name}`.* TO few@localhost")
        else:
            server._sql(f"CREATE ROLE few LOGIN {limit}")
            server._sql(f"GRANT pg_read_all_data, pg_write_all_data TO few; GRANT ALL ON DATABASE {pair.name} TO few")
    entry = {**pair.entry, "USER": "few"}
    with known_database(entry) as first, known_database(entry) as second:
        if kind == "mariadb":
            connections[first].ensure_connection()
        broker = opener("orm", alias=second)()

        began = time.monotonic()
        with pytest.raises(BrokerUnavailable, match=r"too many connections|max_user_connections"):
            broker.enqueue([Message("to the full one")])
        pair.tunnel.lead_to(socket_of(pair.new))
        broker.enqueue([Message("one")])
        assert time.monotonic() - began < 10
        connections[first].close()

    with pair.known(pair.new) as new:
        assert payloads(opener("orm", alias=new)(queue=broker.queue).lease(2)) == ["one"]


def test_other_errors_are_none_of_a_wrong_server() -> None:
    assert not is_wrong_server(None)
    assert not is_wrong_server(ValueError("25006"))


# -- clocks ---------------------------------------------------------------------------------------


def test_the_clock_of_a_database_does_not_follow_that_of_the_host(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with queue_on(postgres_server) as alias:
        clock = DatabaseServerClock(alias)
        before = datetime.now(UTC)
        monkeypatch.setattr(time, "time", lambda: before.timestamp() + 90)

        moment = clock()

        assert abs((moment - before).total_seconds()) < 30
