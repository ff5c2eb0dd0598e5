"""The contract of brokers against each adapter, on real servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import connections

from django_cluster.brokers import memory, open_broker
from django_cluster.brokers.base import Broker
from django_cluster.core.settings import BrokerSettings
from django_cluster.models import QueuedTask
from django_cluster.testing.contracts import BrokerContract, Opener, UnreachableContract
from tests.servers import MariaDBServer, PostgresServer, RedisServer
from tests.servers.base import free_port

ALIAS = "queue of the contract"


def opener(kind: str, **options: Any) -> Opener:
    """Opens brokers for a queue that no other test uses."""
    section = BrokerSettings(kind=kind, options=options, name="contract", queue=uuid4().hex, poll=0.05)

    def open_another(**changes: Any) -> Broker:
        return open_broker(replace(section, **changes))

    return open_another


@pytest.fixture(scope="class")
def use_database(django_db_blocker: Any) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Make a database known to Django, with the queue table, for the tests of a class."""

    def use(entry: dict[str, Any]) -> None:
        connections.databases[ALIAS] = connections.configure_settings({"default": {}, ALIAS: entry})[ALIAS]
        with connections[ALIAS].schema_editor() as editor:
            editor.create_model(QueuedTask)

    with django_db_blocker.unblock():
        yield use
        connections[ALIAS].close()
        del connections[ALIAS]
        del connections.databases[ALIAS]


class TestMemoryBroker(BrokerContract):
    @pytest.fixture
    def open_another(self) -> Iterator[Opener]:
        yield opener("memory")
        memory.reset()


class OrmContract(BrokerContract):
    """What the classes of the databases share."""

    @pytest.fixture
    def open_another(self, database: None) -> Opener:
        return opener("orm", alias=ALIAS)


class TestOrmBrokerOnSQLite(OrmContract):
    @pytest.fixture(scope="class")
    @staticmethod
    def database(tmp_path_factory: pytest.TempPathFactory, use_database: Callable[[dict[str, Any]], None]) -> None:
        file: Path = tmp_path_factory.mktemp("queue") / "queue.sqlite3"
        use_database({"ENGINE": "django.db.backends.sqlite3", "NAME": file})


class TestOrmBrokerOnPostgreSQL(OrmContract, UnreachableContract):
    @pytest.fixture(scope="class")
    @staticmethod
    def database(postgres_server: PostgresServer, use_database: Callable[[dict[str, Any]], None]) -> Iterator[None]:
        name = f"contract_{uuid4().hex}"
        postgres_server.create_database(name)
        use_database(postgres_server.database(name))
        yield
        connections[ALIAS].close()
        postgres_server.drop_database(name)

    @pytest.fixture
    def unreachable(self, tmp_path: Path, use_database: Callable[[dict[str, Any]], None]) -> Iterator[Broker]:
        yield from away({"ENGINE": "django.db.backends.postgresql", "NAME": "nothing", "HOST": str(tmp_path)})


class TestOrmBrokerOnMariaDB(OrmContract, UnreachableContract):
    @pytest.fixture(scope="class")
    @staticmethod
    def database(mariadb_server: MariaDBServer, use_database: Callable[[dict[str, Any]], None]) -> Iterator[None]:
        name = f"contract_{uuid4().hex}"
        mariadb_server.create_database(name)
        use_database(mariadb_server.database(name))
        yield
        connections[ALIAS].close()
        mariadb_server.drop_database(name)

    @pytest.fixture
    def unreachable(self, database: None, tmp_path: Path) -> Iterator[Broker]:
        yield from away({"ENGINE": "django.db.backends.mysql", "NAME": "nothing", "HOST": str(tmp_path / "socket")})


class TestRedisBroker(BrokerContract, UnreachableContract):
    @pytest.fixture
    def open_another(self, redis_server: RedisServer) -> Opener:
        return opener("redis", url=redis_server.url)

    @pytest.fixture
    def unreachable(self) -> Broker:
        return opener("redis", url=f"redis://127.0.0.1:{free_port()}/0")()


def away(entry: dict[str, Any]) -> Iterator[Broker]:
    """A broker on a database whose server does not run."""
    alias = "away"
    connections.databases[alias] = connections.configure_settings({"default": {}, alias: entry})[alias]
    yield opener("orm", alias=alias)()
    del connections[alias]
    del connections.databases[alias]
