"""Servers that go away under load, each in its own way: the cluster waits, says so once, and goes on by itself.

The witness is a file to which every run adds a line: nothing is lost, and nothing is run twice because of it.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from typing import Any

import psutil
import psycopg
import pytest
from redis import Redis

from django_cluster.brokers.messages import Message
from django_cluster.brokers.redis import RedisBroker
from django_cluster.errors import BrokerUnavailable
from tests.conftest import wait_until
from tests.e2e.conftest import MakeProject
from tests.e2e.project import Project
from tests.e2e.running_cluster import RunningCluster
from tests.servers import MariaDBServer, PostgresServer, RedisServer, Server, require
from tests.servers.tunnel import Tunnel

Fault = Callable[[Any], AbstractContextManager[None]]

LOAD = 300
LEASE = 3.0
"""What a server lent in its last moment, and nobody heard of, comes back after so long."""


# -- servers of these tests alone, for they are hurt ------------------------------------------------


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    require("redis")
    server = RedisServer(aof=True).start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[PostgresServer]:
    require("postgres")
    server = PostgresServer().start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def mariadb_server() -> Iterator[MariaDBServer]:
    require("mariadb")
    server = MariaDBServer().start()
    yield server
    server.stop()


# -- what befalls them, for as long as the block lasts ----------------------------------------------


@contextmanager
def refusing(server: Server) -> Iterator[None]:
    """Nobody listens: it was stopped, and is started later."""
    server.terminate()
    try:
        yield
    finally:
        server.restart()


@contextmanager
def full(server: RedisServer) -> Iterator[None]:
    with Redis.from_url(server.url) as console:
        console.config_set("maxmemory-policy", "noeviction")
        console.config_set("maxmemory", 1)
        try:
            yield
        finally:
            console.config_set("maxmemory", 0)


@contextmanager
def read_only(server: PostgresServer) -> Iterator[None]:
    """As a standby is, until it has been promoted."""
    change(server, "on")
    try:
        yield
    finally:
        change(server, "off")


def change(server: PostgresServer, value: str) -> None:
    with psycopg.connect(host=str(server.folder), user="postgres", autocommit=True) as console:
        console.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
        console.execute("SELECT pg_reload_conf()")


def end_sessions_of_postgres(server: PostgresServer) -> None:
    with psycopg.connect(host=str(server.folder), user="postgres", autocommit=True) as console:
        console.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )


def end_sessions_of_mariadb(server: MariaDBServer) -> None:
    import MySQLdb

    console = MySQLdb.connect(unix_socket=server.socket, user="root")
    cursor = console.cursor()
    cursor.execute("SELECT id FROM information_schema.processlist WHERE user = 'root' AND id <> CONNECTION_ID()")
    for (session,) in cursor.fetchall():
        with suppress(MySQLdb.OperationalError):  # it has left by itself meanwhile
            cursor.execute(f"KILL {session}")
    console.close()


# -- what is expected of the cluster ----------------------------------------------------------------


def wait_until_as_late_as(moment: float) -> None:
    """For what time alone brings about: the end of a lease, a hang of some length."""
    wait_until(lambda: time.monotonic() >= moment, 30)


def put_under_load(project: Project, number: int = LOAD) -> list[str]:
    path = str(project.trace)
    ids = project.enqueue_many("tests.sample.tasks.touch_and_sleep", [(path, 0.005, str(n)) for n in range(number)])
    wait_until(lambda: project.count() >= 20, because="the work should be under way")
    project.forget_connection()
    return ids


def members(cluster: RunningCluster) -> set[int]:
    return {process.pid for process in cluster.members()}


def complaints(cluster: RunningCluster) -> Counter[str]:
    """How often each of the processes has said that it waits for a server."""
    return Counter(re.findall(r"([A-Z][\w ]+) unavailable: ", cluster.logs))


def check_that_nothing_was_lost_or_run_twice(project: Project, ids: list[str]) -> None:
    rows = project.wait_for_rows(len(ids))
    assert {row.id for row in rows if row.success and row.final} == set(ids)
    assert Counter(project.traces()) == Counter(str(n) for n in range(len(ids)))
    wait_until(lambda: project.broker().size().total == 0, 10, "every message should have been acknowledged")


def check_that_it_was_said_once(cluster: RunningCluster) -> None:
    said = complaints(cluster)
    assert set(said.values()) == {1}
    wait_until(lambda: cluster.logs.count(" available again after ") == said.total(), 10, f"{said} should be over")


def check_that_it_goes_on_by_itself(project: Project, fault: Callable[[], AbstractContextManager[None]]) -> None:
    cluster = project.start()
    before = members(cluster)
    ids = put_under_load(project)

    with fault():
        cluster.wait_for_log("unavailable")

    check_that_nothing_was_lost_or_run_twice(project, ids)
    check_that_it_was_said_once(cluster)
    assert members(cluster) == before


def test_a_redis_that_refuses_under_load_costs_nothing(make_project: MakeProject, redis_server: RedisServer) -> None:
    project = make_project("redis", retry=LEASE)

    check_that_it_goes_on_by_itself(project, lambda: refusing(redis_server))


def test_a_full_redis_refuses_what_is_sent_and_drains(make_project: MakeProject, redis_server: RedisServer) -> None:
    project = make_project("redis", retry=LEASE)
    cluster = project.start()
    ids = put_under_load(project)

    with full(redis_server):
        with pytest.raises(BrokerUnavailable, match="memory"):
            project.enqueue("tests.sample.tasks.touch", str(project.trace))
        check_that_nothing_was_lost_or_run_twice(project, ids)

    assert not complaints(cluster)


def test_a_redis_that_stands_still_for_longer_than_a_lease_costs_nothing(
    make_project: MakeProject, redis_server: RedisServer
) -> None:
    project = make_project("redis", retry=LEASE)
    cluster = project.start()
    ids = put_under_load(project)

    with redis_server.paused():
        cluster.wait_for_log("Broker unavailable")

    check_that_nothing_was_lost_or_run_twice(project, ids)
    assert "Leases lost" not in cluster.logs


def test_a_network_that_holds_everything_for_longer_than_a_lease_and_delivers_it_costs_nothing(
    make_project: MakeProject, redis_server: RedisServer
) -> None:
    with Tunnel(redis_server.port, b"-") as tunnel:
        project = make_project("by tunnel", retry=LEASE, redis=f"redis://127.0.0.1:{tunnel.port}/0")
        cluster = project.start()
        ids = put_under_load(project)

        tunnel.hold()
        wait_until_as_late_as(time.monotonic() + 2 * LEASE)
        tunnel.let_go()

        check_that_nothing_was_lost_or_run_twice(project, ids)
        assert "Leases lost" not in cluster.logs
        cluster.stop()


def test_connections_that_the_network_has_forgotten_are_left_within_seconds(
    make_project: MakeProject, redis_server: RedisServer
) -> None:
    with Tunnel(redis_server.port, b"-") as tunnel:
        project = make_project("by tunnel", retry=LEASE, redis=f"redis://127.0.0.1:{tunnel.port}/0")
        cluster = project.start()
        ids = put_under_load(project)
        project.broker().close()  # the sender of this test is no part of the cluster

        tunnel.forget()

        check_that_nothing_was_lost_or_run_twice(project, ids)
        cluster.stop()


def test_an_old_redis_that_keeps_its_connections_is_left_within_seconds(make_project: MakeProject) -> None:
    """A fail-over behind one address: the old server is now a replica of the new one, and hangs up on nobody."""
    old = RedisServer().start()
    new = RedisServer("--replicaof", "127.0.0.1", str(old.port)).start()
    with Tunnel(old.port, b"-") as tunnel:
        project = make_project("by tunnel", retry=LEASE, redis=f"redis://127.0.0.1:{tunnel.port}/0")
        cluster = project.start()
        ids = put_under_load(project)
        sender = RedisBroker(replace(project.broker().settings, queue="of a sender"))
        sender.ping()
        wait_until(lambda: "master_link_status:up" in new.says("info", "replication"), 30)

        old.says("client", "pause", "60000", "write")
        wait_until(lambda: offset_of(new, "slave_repl_offset") >= offset_of(old, "master_repl_offset"), 10)
        new.says("replicaof", "no", "one")
        tunnel.retarget(new.port)
        old.says("replicaof", "127.0.0.1", str(new.port))
        old.says("client", "unpause")

        sender.enqueue([Message("what a sender sends at once")])
        check_that_nothing_was_lost_or_run_twice(project, ids)
        cluster.stop()
    for server in (new, old):
        server.stop()


def offset_of(server: RedisServer, name: str) -> int:
    lines = dict(line.split(":", 1) for line in server.says("info", "replication").splitlines() if ":" in line)
    return int(lines[name])


def test_a_pusher_that_was_stopped_for_longer_than_a_lease_renews_before_it_claims(
    make_project: MakeProject, redis_server: RedisServer
) -> None:
    project = make_project("redis", retry=LEASE)
    cluster = project.start()
    end = project.folder / "end"
    first = project.enqueue("tests.e2e.tasks.say_and_wait_for", str(project.trace), str(end))
    project.wait_for_traces(1)

    pusher = psutil.Process(cluster.pid_of("pusher"))
    pusher.suspend()
    second = project.enqueue("tests.sample.tasks.touch", str(project.trace))
    wait_until_as_late_as(time.monotonic() + 1.5 * LEASE)
    pusher.resume()
    project.wait_for_row(second)
    end.touch()

    assert project.wait_for_row(first).attempt_count == 1
    assert len(project.traces()) == 2
    assert "Leases lost" not in cluster.logs


def test_a_redis_that_forgets_everything_is_an_error_in_the_log(
    make_project: MakeProject, redis_server: RedisServer
) -> None:
    project = make_project("redis", retry=LEASE)
    cluster = project.start()
    end = project.folder / "end"
    project.enqueue("tests.e2e.tasks.say_and_wait_for", str(project.trace), str(end))
    project.wait_for_traces(1)

    redis_server.flush()

    cluster.wait_for_log("Leases lost: the broker no longer knows any of 1 leases")
    end.touch()


def test_a_slow_redis_is_no_outage(make_project: MakeProject, redis_server: RedisServer) -> None:
    project = make_project("redis", retry=LEASE)
    cluster = project.start()
    ids = put_under_load(project)

    with Redis.from_url(redis_server.url) as console:
        for _ in range(3):
            console.execute_command("CLIENT PAUSE", 500, "ALL")
            console.ping()

    check_that_nothing_was_lost_or_run_twice(project, ids)
    assert not complaints(cluster)


@pytest.mark.parametrize("broker", ["orm", "redis"])
@pytest.mark.parametrize("fault", [refusing, read_only], ids=["refusing", "read-only"])
def test_a_postgres_that_refuses_under_load_costs_nothing(
    make_project: MakeProject, postgres_server: PostgresServer, broker: str, fault: Fault
) -> None:
    project = make_project(broker, "postgres", retry=LEASE)

    check_that_it_goes_on_by_itself(project, lambda: fault(postgres_server))


def test_a_mariadb_that_refuses_under_load_costs_nothing(
    make_project: MakeProject, mariadb_server: MariaDBServer
) -> None:
    project = make_project("orm", "mariadb", retry=LEASE)

    check_that_it_goes_on_by_itself(project, lambda: refusing(mariadb_server))


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
def test_a_database_that_hangs_under_load_is_waited_for(
    request: pytest.FixtureRequest, make_project: MakeProject, kind: str
) -> None:
    project = make_project("orm", kind)
    server: Server = request.getfixturevalue(f"{kind}_server")
    cluster = project.start()
    before = members(cluster)
    ids = put_under_load(project)

    with server.paused():
        wait_until_as_late_as(time.monotonic() + 2)
        assert len(project.traces()) < len(ids)

    check_that_nothing_was_lost_or_run_twice(project, ids)
    assert not complaints(cluster)
    assert members(cluster) == before


@pytest.mark.parametrize(
    ("kind", "end_sessions"),
    [("postgres", end_sessions_of_postgres), ("mariadb", end_sessions_of_mariadb)],
    ids=["postgres", "mariadb"],
)
def test_sessions_that_the_server_ends_under_load_cost_nothing(
    request: pytest.FixtureRequest, make_project: MakeProject, kind: str, end_sessions: Callable[[Any], None]
) -> None:
    project = make_project("orm", kind, retry=LEASE)
    server: Server = request.getfixturevalue(f"{kind}_server")
    cluster = project.start()
    before = members(cluster)
    ids = put_under_load(project)

    for part in range(1, 5):
        wait_until(lambda part=part: len(project.traces()) > part * 50, 10, "the work should go on")  # type: ignore[misc]
        end_sessions(server)

    check_that_nothing_was_lost_or_run_twice(project, ids)
    assert members(cluster) == before


# -- longer than the lease --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["redis", "postgres"])
def test_a_task_that_runs_while_the_server_is_away_for_longer_than_its_lease_runs_once(
    request: pytest.FixtureRequest, make_project: MakeProject, kind: str
) -> None:
    server: Server = request.getfixturevalue(f"{kind}_server")
    lease = 1.5
    project = make_project("redis", retry=lease) if kind == "redis" else make_project("orm", kind, retry=lease)
    cluster = project.start()
    end = project.folder / "end"
    task_id = project.enqueue("tests.e2e.tasks.say_and_wait_for", str(project.trace), str(end))
    project.wait_for_traces(1)
    project.forget_connection()

    with refusing(server):
        cluster.wait_for_log("Broker unavailable")
        wait_until_as_late_as(time.monotonic() + 2 * lease)
    cluster.wait_for_log("Broker available again")
    end.touch()

    row = project.wait_for_row(task_id)
    assert (row.status, row.attempt_count, len(project.traces())) == ("success", 1, 1)
    wait_until(lambda: project.broker().size().total == 0, 5, "the message should have been acknowledged")
    check_that_it_was_said_once(cluster)
