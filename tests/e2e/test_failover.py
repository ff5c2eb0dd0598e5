"""A database that fails over behind one address: the old server answers on, read-only, on sockets that stay open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone

from django_cluster.models import Heartbeat, Task
from django_cluster.tasks import schedule
from tests.conftest import wait_until
from tests.e2e.conftest import Place, on_server
from tests.e2e.project import Project, working_on
from tests.servers import MariaDBServer, PostgresServer, require
from tests.servers.tunnel import Tunnel

KINDS: dict[str, type[PostgresServer] | type[MariaDBServer]] = {"postgres": PostgresServer, "mariadb": MariaDBServer}
WITHIN = 30.0
"""Seconds; the cluster needs two or three, and a busy machine several times that."""


class Pair:
    """Two servers with the same tables behind one address. The second takes over."""

    def __init__(self, kind: str, servers: list[PostgresServer | MariaDBServer], name: str, tunnel: Tunnel) -> None:
        self.kind, (self.old, self.new) = kind, servers
        self.name, self.tunnel = name, tunnel

    @property
    def place(self) -> Place:
        """The project: one address, persistent sessions, an account that may not write to a read-only server."""
        entry, environment = on_server(self.kind, self.old, self.name)
        changes = {"HOST": "127.0.0.1", "PORT": str(self.tunnel.port), "USER": "app"}
        variables = {f"TEST_DATABASE_{key}": value for key, value in changes.items()}
        return Place({**entry, **changes}, {**environment, **variables, "TEST_DATABASE_AGE": "null"})

    def fail_over(self) -> None:
        self.tunnel.lead_to(socket_of(self.new))
        if isinstance(self.old, MariaDBServer):
            self.old._sql("SET GLOBAL read_only = 1")
        else:
            self.old._sql("ALTER SYSTEM SET default_transaction_read_only = on")
            self.old._sql("SELECT pg_reload_conf()")


def socket_of(server: PostgresServer | MariaDBServer) -> str:
    return server.socket if isinstance(server, MariaDBServer) else f"{server.folder}/.s.PGSQL.5432"


def let_in(server: PostgresServer | MariaDBServer) -> None:
    """An account whose sessions a read-only server binds."""
    if isinstance(server, MariaDBServer):
        for place in ("localhost", "127.0.0.1"):
            server._sql(f"CREATE USER app@{place!r}; GRANT ALL ON *.* TO app@{place!r}")
            server._sql(f"REVOKE SUPER, READ_ONLY ADMIN ON *.* FROM app@{place!r}")
    else:
        server._sql("CREATE ROLE app LOGIN SUPERUSER")


@pytest.fixture(params=["postgres", "mariadb"])
def pair(
    request: pytest.FixtureRequest, migrated_on: Callable[[str, PostgresServer | MariaDBServer], str]
) -> Iterator[Pair]:
    kind = request.param
    require(kind)
    name = f"pair_{uuid4().hex}"
    with ExitStack() as stack:
        servers = []
        for _ in range(2):
            server = KINDS[kind]().start()
            stack.callback(server.stop)
            server.create_database(name, template=migrated_on(kind, server))
            let_in(server)
            servers.append(server)
        tunnel = stack.enter_context(Tunnel(socket_of(servers[0]), b"never said"))
        yield Pair(kind, servers, name, tunnel)


@pytest.fixture
def project(pair: Pair, request: pytest.FixtureRequest, django_db_blocker: Any) -> Iterator[Project]:
    with django_db_blocker.unblock():
        project = request.node.project = Project(*pair.place, orm="default", workers=1, retry=5)
        with project.active():
            yield project
            project.dismantle()


def test_an_old_primary_that_keeps_its_connections_is_left_by_every_process(pair: Pair, project: Project) -> None:
    cluster = project.start()
    before = {process.pid for process in cluster.members()}
    project.wait_for_row(project.enqueue("tests.e2e.tasks.write_session", "before"))

    pair.fail_over()

    first = project.enqueue("tests.sample.tasks.echo", "sent by a session with the old server")
    with working_on(on_server(pair.kind, pair.new, pair.name).entry):
        project.wait_for_row(first, WITHIN)
        for attempt in range(2):  # a worker leaves its session when the first task has failed there
            project.wait_for_row(project.enqueue("tests.e2e.tasks.write_session", f"after {attempt}"), WITHIN)
        assert Session.objects.filter(session_key="after 1").exists()
        schedule("tests.sample.tasks.echo", name="due", next_run=timezone.now() + timedelta(seconds=1))
        wait_until(lambda: Task.objects.filter(func="tests.sample.tasks.echo").count() == 2, WITHIN)
        wait_until(Heartbeat.objects.exists, WITHIN, "the heartbeat should be at the new server")
        wait_until(lambda: project.broker().size().total == 0, WITHIN)
    assert {process.pid for process in cluster.members()} == before
    cluster.stop()
