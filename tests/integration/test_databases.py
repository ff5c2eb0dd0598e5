"""Every way in which a project may connect to its databases, with real servers and real clusters."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import connections
from django.test import override_settings

from django_cluster.models import QueuedTask, Schedule, Task
from django_cluster.tasks import fetch, schedule
from tests.conftest import wait_until
from tests.e2e.project import Project
from tests.integration.database_tasks import create, leave_transaction_open, session
from tests.sample.tasks import add
from tests.servers import MariaDBServer, MySQLServer, PgBouncer, PostgresServer

Entries = dict[str, dict[str, Any]]
MakeProject = Callable[..., Project]

SQLITE = "django.db.backends.sqlite3"
SETTINGS = "tests.integration.several_databases"

CONNECTING: dict[str, dict[str, Any]] = {
    "a connection a task": {"CONN_MAX_AGE": 0},
    "persistent": {"CONN_MAX_AGE": 60},
    "for ever, with checks": {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True},
    "a pool": {"OPTIONS": {"pool": True}},
    "a small pool": {"OPTIONS": {"pool": {"min_size": 1, "max_size": 2}}, "CONN_HEALTH_CHECKS": True},
}


@pytest.fixture
def new_postgres(postgres_server: PostgresServer) -> Iterator[Callable[[], str]]:
    """Makes an empty database; returns its name."""
    with ExitStack() as stack:

        def make() -> str:
            name = f"databases_{uuid4().hex}"
            postgres_server.create_database(name)
            stack.callback(postgres_server.drop_database, name)
            return name

        yield make


@pytest.fixture
def make_project(django_db_blocker: Any) -> Iterator[MakeProject]:
    """A project with these ``DATABASES``, all of them migrated, for this process and for its clusters."""
    with ExitStack() as stack, django_db_blocker.unblock():

        def make(databases: Entries, *, routers: tuple[str, ...] = (), **q_cluster: Any) -> Project:
            environment = {
                "DJANGO_SETTINGS_MODULE": SETTINGS,
                "TEST_DATABASES": json.dumps(databases, default=str),
                "TEST_ROUTERS": json.dumps(routers),
            }
            project = Project(databases["default"], environment, **q_cluster)
            stack.callback(project.dismantle)
            stack.enter_context(project.active())
            stack.callback(close_ours)
            for alias in databases.keys() - {"default"}:
                entry = connections.configure_settings({"default": {}, alias: databases[alias]})[alias]
                connections.databases[alias] = entry
                stack.callback(forget, alias)
            for alias in databases:
                call_command("migrate", verbosity=0, database=alias)
            stack.enter_context(override_settings(DATABASE_ROUTERS=routers))
            return project

        yield make


def forget(alias: str) -> None:
    connections[alias].close()
    del connections[alias]
    del connections.databases[alias]


def close_ours() -> None:
    """Also what Django keeps in a pool, by alias, for whichever database was the first of this name."""
    connections["default"].close()
    if hasattr(connections["default"], "close_pool"):
        connections["default"].close_pool()


def merged(entry: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {**entry, **changes, "OPTIONS": {**entry.get("OPTIONS", {}), **changes.get("OPTIONS", {})}}


def sockets(pid: int) -> int:
    """How many sockets the process holds."""
    links = [os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir()]
    return sum(link.startswith("socket:") for link in links)


def work_through(project: Project, number: int = 20) -> set[int]:
    """Have tasks use the database in two workers; returns the sessions that they used."""
    before = project.count()
    ids = project.enqueue_many(session, [()] * number)
    project.enqueue_many(create, [f"group {each}" for each in range(number)])
    rows = project.wait_for_rows(before + 2 * number)
    assert [row.error_message for row in rows if not row.success] == []
    return {row.result[1] for row in rows if row.id in ids}


# ── ways to connect ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("manner", CONNECTING)
def test_a_cluster_works_with(
    manner: str, make_project: MakeProject, new_postgres: Callable[[], str], postgres_server: PostgresServer
) -> None:
    entry = postgres_server.database(new_postgres())
    project = make_project({"default": merged(entry, CONNECTING[manner])})
    cluster = project.start()

    work_through(project)

    assert sockets(cluster.pid) == 2, "the sentinel has its two ends of a pair, and no connection"
    assert cluster.stop() == 0
    close_ours()
    wait_until(lambda: sessions_of(entry) == 0, because="nobody should have left a connection behind")


def sessions_of(entry: dict[str, Any]) -> int:
    """How many connections the server has for this database."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
    with psycopg.connect(host=entry["HOST"], user=entry["USER"], dbname="postgres") as other:
        row = other.execute(query, [entry["NAME"]]).fetchone()
    assert row is not None
    return int(row[0])


def test_a_cluster_works_behind_pgbouncer_with_fewer_sessions_than_processes(
    make_project: MakeProject, new_postgres: Callable[[], str], pgbouncer_server: PgBouncer
) -> None:
    entry = pgbouncer_server.database(new_postgres())
    project = make_project({"default": merged(entry, {"CONN_MAX_AGE": None})}, workers=6)
    cluster = project.start()

    sessions = work_through(project)
    schedule(add, 1, 2, schedule_type=Schedule.ONCE)
    project.wait_for_rows(41)

    assert len(sessions) <= pgbouncer_server.sessions
    assert cluster.stop() == 0


@pytest.mark.parametrize("kind", ["mariadb", "mysql"])
def test_a_cluster_works_with_persistent_connections_to_mariadb_and_mysql(
    make_project: MakeProject, request: pytest.FixtureRequest, kind: str
) -> None:
    server: MariaDBServer | MySQLServer = request.getfixturevalue(f"{kind}_server")
    name = f"databases_{uuid4().hex}"
    server.create_database(name)
    entry = server.database(name)
    project = make_project({"default": merged(entry, {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True})})
    cluster = project.start()

    sessions = work_through(project)

    assert len(sessions) <= 2
    assert cluster.stop() == 0
    close_ours()
    server.drop_database(name)


def test_a_session_that_the_server_has_ended_costs_no_task(
    make_project: MakeProject, new_postgres: Callable[[], str], postgres_server: PostgresServer
) -> None:
    entry = postgres_server.database(new_postgres())
    checked = {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True}
    project = make_project({"default": merged(entry, checked)}, workers=1)
    project.start()
    before = project.wait_for_row(project.enqueue(session)).result
    project.forget_connection()

    with psycopg.connect(host=entry["HOST"], user=entry["USER"], dbname="postgres") as other:
        ending = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s"
        other.execute(ending, [entry["NAME"]])
    after = project.wait_for_row(project.enqueue(session)).result

    assert before[0] == after[0]
    assert before[1] != after[1]


def test_a_connection_that_is_too_old_is_closed_before_a_task_as_before_a_request(
    make_project: MakeProject, new_postgres: Callable[[], str], postgres_server: PostgresServer
) -> None:
    """Between two tasks nobody looks at it, and the server may have ended a session that has been idle for so long."""
    entry = postgres_server.database(new_postgres())
    project = make_project({"default": merged(entry, {"CONN_MAX_AGE": 2})}, workers=1)
    project.start()
    process, before = project.wait_for_row(project.enqueue(session)).result
    used = time.monotonic()
    project.forget_connection()

    wait_until(lambda: time.monotonic() > used + 2.5, because="the connection should be too old")
    with psycopg.connect(host=entry["HOST"], user=entry["USER"], dbname="postgres") as other:
        (ended,) = other.execute("SELECT pg_terminate_backend(%s, 5000)", [before]).fetchone() or (False,)
    task = project.wait_for_row(project.enqueue(session))

    assert ended
    assert task.success, task.error_message
    assert task.result[0] == process
    assert task.result[1] != before


def test_a_task_that_leaves_autocommit_off_does_not_spoil_the_next(
    make_project: MakeProject, new_postgres: Callable[[], str], postgres_server: PostgresServer
) -> None:
    entry = postgres_server.database(new_postgres())
    project = make_project({"default": merged(entry, {"CONN_MAX_AGE": None})}, workers=1)
    project.start()

    project.enqueue(leave_transaction_open)
    task_id = project.enqueue(create, "committed")

    assert project.wait_for_row(task_id).result == 1


def test_a_hook_that_leaves_a_transaction_open_takes_no_row_with_it(
    make_project: MakeProject, new_postgres: Callable[[], str], postgres_server: PostgresServer
) -> None:
    project = make_project({"default": postgres_server.database(new_postgres())}, workers=1)
    project.start()

    first = project.enqueue(add, 1, 2, hook="tests.integration.database_tasks.hook_that_leaves_a_transaction_open")
    project.wait_for_row(first)
    second = project.enqueue(add, 3, 4)

    assert project.wait_for_row(second).result == 7
    assert not Group.objects.filter(name="never committed").exists()


def test_what_a_hook_does_to_its_session_stops_no_record(
    make_project: MakeProject, new_postgres: Callable[[], str], postgres_server: PostgresServer
) -> None:
    entry = merged(postgres_server.database(new_postgres()), {"CONN_MAX_AGE": None})
    project = make_project({"default": entry}, workers=1)
    project.start()
    hook = "tests.integration.database_tasks.hook_that_alters_the_session"

    for number in range(5):
        assert project.wait_for_row(project.enqueue(add, number, 1, hook=hook)).result == number + 1


def test_a_hook_finds_another_database_again_after_its_restart(
    make_project: MakeProject, new_postgres: Callable[[], str], postgres_server: PostgresServer
) -> None:
    entries = {alias: postgres_server.database(new_postgres()) for alias in ("default", "other")}
    entries["other"] = merged(entries["other"], {"CONN_MAX_AGE": None})
    project = make_project(entries, workers=1)
    project.start().may_crash = True  # the hook that meets the dead session fails, and the log says so
    hook = "tests.integration.database_tasks.hook_that_reads_elsewhere"

    def notify(expected: int) -> None:
        project.enqueue(add, 1, 1, hook=hook, group=str(project.trace))
        project.wait_for_traces(expected)

    notify(1)
    connections["other"].close()
    with psycopg.connect(host=entries["other"]["HOST"], user=entries["other"]["USER"], dbname="postgres") as other:
        ending = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s"
        other.execute(ending, [entries["other"]["NAME"]])
    project.wait_for_row(project.enqueue(add, 1, 1, hook=hook, group=str(project.trace)))  # may fail, as a request
    before = len(project.traces())
    notify(before + 1)

    assert len({trace.split()[0] for trace in project.traces()}) == 1


# ── forks ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("manner", ["open", "transaction"])
@pytest.mark.parametrize("kind", ["plain", "pool", "mariadb"])
def test_no_connection_of_a_program_crosses_into_its_cluster(
    kind: str, manner: str, make_project: MakeProject, request: pytest.FixtureRequest
) -> None:
    name = f"databases_{uuid4().hex}"
    server = request.getfixturevalue("mariadb_server" if kind == "mariadb" else "postgres_server")
    server.create_database(name)
    options = {"pool": True} if kind == "pool" else {}
    project = make_project({"default": merged(server.database(name), {"OPTIONS": options})})

    # Python warns, rightly, of a fork where threads are, and a pool has some. Here it has to go well all the same.
    quiet = {"PYTHONWARNINGS": "default,ignore:This process:DeprecationWarning"}
    program = project.launch("-m", "tests.integration.program_with_connections", manner, environment=quiet)

    assert program.wait_for_exit() == 0
    assert "crossed: False" in program.logs
    assert "session kept: True" in program.logs
    close_ours()
    server.drop_database(name)


def test_a_program_with_an_open_sqlite_file_may_start_a_cluster(make_project: MakeProject, tmp_path: Path) -> None:
    project = make_project({"default": {"ENGINE": SQLITE, "NAME": str(tmp_path / "db.sqlite3")}})

    program = project.launch("-m", "tests.integration.program_with_connections", "open")

    assert program.wait_for_exit() == 0
    assert project.count(success=True) == 10


# ── several databases ────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., Entries]:
    """``DATABASES`` with these aliases, a file each."""

    def make(*aliases: str) -> Entries:
        return {alias: {"ENGINE": SQLITE, "NAME": str(tmp_path / alias)} for alias in aliases}

    return make


def test_results_and_schedules_may_live_in_another_database_than_the_queue(
    make_project: MakeProject, files: Callable[..., Entries]
) -> None:
    project = make_project(files("default", "results"), results_db="results")
    project.start()

    task_id = project.enqueue(add, 1, 2)
    schedule(add, 3, 4, schedule_type=Schedule.ONCE)

    wait_until(lambda: Task.objects.using("results").count() == 2, 30, "both tasks should have a row")
    assert fetch(task_id).result == 3  # type: ignore[union-attr]
    assert Task.objects.using("default").count() == 0
    wait_until(lambda: not QueuedTask.objects.exists(), 10, "the queue should be empty")


def test_a_router_may_put_all_our_tables_apart(make_project: MakeProject, files: Callable[..., Entries]) -> None:
    apart = ("tests.integration.database_tasks.TasksApart",)
    project = make_project(files("default", "tasks"), routers=apart, orm="tasks")
    project.start()

    task_id = project.enqueue(add, 1, 2)
    schedule(add, 3, 4, schedule_type=Schedule.ONCE)

    assert project.wait_for_row(task_id).result == 3
    wait_until(lambda: Task.objects.using("tasks").count() == 2, 30, "the scheduled task should have a row")
    assert Task.objects.using("default").count() == 0


def test_what_has_just_been_written_is_not_read_from_a_replica(
    make_project: MakeProject, files: Callable[..., Entries]
) -> None:
    lagging = ("tests.integration.database_tasks.ReadsFromReplica",)
    project = make_project(files("default", "replica"), routers=lagging, orm="default")
    project.start()

    task_id = project.enqueue(add, 1, 2)
    task = fetch(task_id, wait=30_000)

    assert task is not None
    assert task.result == 3
    assert Task.get_task(task_id) == task
    assert Task.objects.using("replica").count() == 0
