"""Projects for the tests of whole clusters, on the database and the broker of their choice."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from django.core.management import call_command

from tests.e2e.project import Project, working_on
from tests.servers import MariaDBServer, PostgresServer, RabbitServer, RedisServer

MakeProject = Callable[..., Project]


class Place(NamedTuple):
    """A database: as an entry of ``DATABASES``, and as ``tests.django_settings`` is told of it."""

    entry: dict[str, Any]
    environment: dict[str, str]


def sqlite(file: Path) -> Place:
    entry = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(file)}
    return Place(entry, {"TEST_DATABASE": "sqlite", "TEST_DATABASE_NAME": str(file)})


def on_server(kind: str, server: Any, name: str) -> Place:
    entry = server.database(name)
    environment = {
        "TEST_DATABASE": kind,
        "TEST_DATABASE_NAME": name,
        "TEST_DATABASE_HOST": entry["HOST"],
        "TEST_DATABASE_USER": entry["USER"],
    }
    return Place(entry, environment)


def migrate(place: Place) -> None:
    with working_on(place.entry):
        call_command("migrate", verbosity=0)


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: Any) -> Path:
    """A migrated SQLite database, for every test to copy."""
    file = tmp_path_factory.mktemp("migrated") / "db.sqlite3"
    with django_db_blocker.unblock():
        migrate(sqlite(file))
    return file


_with_migrated: list[object] = []
"""Servers that have the migrated database."""


@pytest.fixture(scope="session")
def migrated_on(django_db_blocker: Any) -> Callable[[str, PostgresServer | MariaDBServer], str]:
    """The name of a migrated database on a server, for every test to copy; made once for each server.

    Not a fixture of the server itself: a module may have a server of its own. Another folder may import this fixture.
    """

    def migrated(kind: str, server: PostgresServer | MariaDBServer) -> str:
        name = "migrated"
        if not any(each is server for each in _with_migrated):
            _with_migrated.append(server)
            server.create_database(name)
            with django_db_blocker.unblock():
                migrate(on_server(kind, server, name))
        return name

    return migrated


@pytest.fixture
def new_database(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    django_db_blocker: Any,
    migrated_on: Callable[[str, PostgresServer | MariaDBServer], str],
) -> Iterator[Callable[[str], Place]]:
    """Makes a migrated database of its own for one test: ``sqlite``, ``postgres`` or ``mariadb``."""
    with ExitStack() as stack, django_db_blocker.unblock():

        def make(kind: str) -> Place:
            if kind == "sqlite":
                file = tmp_path / "db.sqlite3"
                shutil.copy(request.getfixturevalue("migrated_file"), file)
                return sqlite(file)
            server = request.getfixturevalue(f"{kind}_server")
            name = f"e2e_{uuid4().hex}"
            server.create_database(name, template=migrated_on(kind, server))
            stack.callback(server.drop_database, name)
            return on_server(kind, server, name)

        yield make


@pytest.fixture
def make_project(request: pytest.FixtureRequest, new_database: Callable[[str], Place]) -> Iterator[MakeProject]:
    """Makes the project of a test: ``make_project(broker="redis", database="postgres", workers=1)``.

    Once a test: this process then works with its settings and its database. ``server`` takes the place of the
    one that all tests share.
    """
    with ExitStack() as stack:

        def make(
            broker: str = "orm",
            database: str = "sqlite",
            server: RedisServer | PostgresServer | RabbitServer | None = None,
            **q_cluster: Any,
        ) -> Project:
            if broker == "redis":
                redis = server if isinstance(server, RedisServer) else request.getfixturevalue("redis_server")
                q_cluster["redis"] = redis.url
            elif broker == "rabbitmq":
                rabbit = server if isinstance(server, RabbitServer) else request.getfixturevalue("rabbitmq_server")
                q_cluster["rabbitmq"] = rabbit.url
            elif broker == "sqs":
                q_cluster["sqs"] = request.getfixturevalue("sqs_server").options
            elif broker == "mongo":
                q_cluster["mongo"] = request.getfixturevalue("nx_server").url
            elif broker in ("sentinels", "redis_cluster"):
                q_cluster["redis"] = request.getfixturevalue(broker).url
            elif broker == "disque":
                q_cluster |= request.getfixturevalue("disque_server").settings
            elif broker == "ironmq":
                q_cluster["iron_mq"] = request.getfixturevalue("ironmq_server").options
            elif not {"broker_class", "redis", "rabbitmq"} & q_cluster.keys():
                q_cluster["orm"] = "default"
            if isinstance(server, PostgresServer):
                place = on_server("postgres", server, "postgres")
                migrate(place)
            else:
                place = new_database(database)
            project = Project(*place, **q_cluster)
            project.fresh = request.node.get_closest_marker("fresh_start") is not None
            request.node.project = project
            stack.callback(project.dismantle)
            stack.enter_context(project.active())
            return project

        yield make


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failing test shows the last words of its clusters; kept from the call for a failing teardown."""
    report = yield
    project: Project | None = getattr(item, "project", None)
    if report.failed and project is not None and project.clusters and report.when == "call":
        report.sections.append(("log of the clusters", project.tail()))
    return report
