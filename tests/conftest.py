"""What every test may use: real servers, quick settings, patience with a reason, and a clock that is set by hand.

``make_settings`` and ``wait_until`` are plain functions, for helpers to import, and fixtures of the same name.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from django.conf import settings
from hypothesis import settings as hypothesis_settings

from django_cluster.core.settings import BrokerSettings, Settings, SigningSettings
from tests.servers import (
    DisqueServer,
    FerretServer,
    IronServer,
    MariaDBServer,
    MySQLServer,
    NxServer,
    PgBouncer,
    PostgresServer,
    RabbitServer,
    RedisCluster,
    RedisServer,
    Sentinels,
    Server,
    SqsServer,
    require,
)
from tests.servers.shared import shared

# How long an example takes says more of what else the machine does than of the code.
hypothesis_settings.register_profile("patient", deadline=None)
# For "make unit" and "make check", which people wait for.
hypothesis_settings.register_profile("quick", deadline=None, max_examples=5)
# For "make test": other examples each time, so many runs try as many as "make test-all" does in one.
hypothesis_settings.register_profile("usual", deadline=None, max_examples=25)
hypothesis_settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--only-brokers", metavar="NAMES", help="of tests with a parameter 'broker', run those of these brokers alone"
    )


def pytest_collection_finish() -> None:
    """What has been imported by now stays: no collector needs to look through it again and again."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What ``--only-brokers=orm,redis`` leaves out."""
    if not (wanted := config.getoption("--only-brokers")):
        return
    kept: list[pytest.Item] = []
    others: list[pytest.Item] = []
    for item in items:
        broker = getattr(getattr(item, "callspec", None), "params", {}).get("broker")
        (kept if broker is None or broker in wanted.split(",") else others).append(item)
    config.hook.pytest_deselected(items=others)
    items[:] = kept


def make_settings(**changes: Any) -> Settings:
    """Settings of a cluster named ``tests`` with the ``memory`` broker.

    A mapping changes fields of a section: ``make_settings(queue="slow", processes={"workers": 1})``.
    """
    base = Settings(
        name="tests",
        queue="tests",
        broker=BrokerSettings(kind="memory", name="tests", queue="tests"),
        signing=SigningSettings(secret="a secret for tests", salt="tests"),
    )
    sections = {
        name: replace(getattr(base, name), **change)
        for name, change in changes.items()
        if isinstance(change, Mapping) and name != "reporters"
    }
    return replace(base, **{**changes, **sections})


def wait_until(condition: Callable[[], object], within: float = 5, because: str = "") -> None:
    """Return as soon as the condition holds; fail with the reason if it does not hold in time.

    Most of the time is left to what is waited for: a dear condition is asked less often.
    """
    begun = time.monotonic()
    deadline = begun + within
    while not condition():
        now = time.monotonic()
        if now > deadline:
            pytest.fail(f"not within {within:g} seconds: {because or condition}")
        time.sleep(min(0.2, max(0.01, 4 * (now - begun))))
        begun = time.monotonic()


@dataclass
class Clock:
    """Unix time that stands still until it is moved; call it for the time."""

    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(autouse=True)
def settings_are_put_back() -> Iterator[None]:
    """Whoever overrides settings twice and puts them back in the wrong order is told so, not the next test."""
    lazy: Any = settings
    before = lazy._wrapped
    yield
    after, lazy._wrapped = lazy._wrapped, before
    assert after is before, "Django's settings were left changed: put back first what was overridden last."


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(name="make_settings")
def make_settings_fixture() -> Callable[..., Settings]:
    return make_settings


@pytest.fixture(name="wait_until")
def wait_until_fixture() -> Callable[..., None]:
    return wait_until


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """Redis without persistence; tests share it, so each uses a queue name of its own."""
    require("redis")
    server = RedisServer().start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def folder_of_the_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this run know, and nobody else."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


Family = TypeVar("Family", Sentinels, RedisCluster)


def running(family: Family) -> Iterator[Family]:
    """For a fixture: several Redis that belong together, for as long as somebody needs them."""
    require("redis")
    try:
        yield family.start()
    finally:
        family.stop()


@pytest.fixture(scope="session")
def sentinels() -> Iterator[Sentinels]:
    """A master and its replica under Sentinels; tests share them, so nobody may hurt them."""
    yield from running(Sentinels())


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[RedisCluster]:
    """Three nodes of a Redis Cluster; slots may be moved."""
    yield from running(RedisCluster())


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """PostgreSQL; tests share it, so each creates a database of its own."""
    require("postgres")
    server = PostgresServer().start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def pgbouncer_server(postgres_server: PostgresServer) -> Iterator[PgBouncer]:
    """pgbouncer in transaction mode before ``postgres_server``, whose databases it shows."""
    require("pgbouncer")
    server = PgBouncer(postgres_server).start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def mysql_server() -> Iterator[MySQLServer]:
    """MySQL; tests share it, so each creates a database of its own."""
    require("mysql")
    server = MySQLServer().start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaDBServer]:
    """MariaDB; tests share it, so each creates a database of its own."""
    require("mariadb")
    server = MariaDBServer().start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def rabbitmq_server(folder_of_the_run: Path) -> Iterator[RabbitServer]:
    """RabbitMQ; tests of all workers share it, so each uses a queue name of its own, and none may hurt it."""
    require("rabbitmq")
    with shared(RabbitServer, folder_of_the_run) as server:
        yield server


@pytest.fixture(scope="session")
def sqs_server() -> Iterator[SqsServer]:
    """An SQS in memory; tests share it, so each uses a queue name of its own."""
    require("sqs")
    server = SqsServer().start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def disque_server() -> Iterator[DisqueServer]:
    """A node of Disque; tests share it, so each uses a queue name of its own."""
    require("disque")
    server = DisqueServer().start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def ironmq_server() -> Iterator[IronServer]:
    """An IronMQ in memory; tests share it, so each uses a queue name of its own."""
    require("ironmq")
    server = IronServer().start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def ferretdb_server() -> Iterator[FerretServer]:
    """FerretDB; tests share it, so each uses a queue name of its own."""
    require("ferretdb")
    server = FerretServer().start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def nx_server() -> Iterator[NxServer]:
    """NX-27017; tests share it, likewise."""
    require("nx-27017")
    server = NxServer().start()
    yield server
    server.stop()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """``@pytest.mark.server("redis")``: for tests that start a server by themselves."""
    for mark in item.iter_markers("server"):
        for name in mark.args:
            require(name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failing test shows the last words of the servers that it used."""
    report = yield
    if report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            if isinstance(value, Server):
                report.sections.append((f"log of {name}", value.tail()))
    return report
