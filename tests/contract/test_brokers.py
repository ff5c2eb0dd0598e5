"""The contract of brokers against each adapter, on real servers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from django_cluster.brokers import memory
from django_cluster.brokers.base import Broker
from django_cluster.brokers.payload_offload import OffloadingBroker
from django_cluster.core.settings.redis_topology import normalized
from django_cluster.models import LargePayload
from django_cluster.testing.contracts import BrokerContract, Opener, UnreachableContract
from tests.brokers import known_database, opener, queue_database, queue_on
from tests.e2e.project import working_on
from tests.servers import (
    DisqueServer,
    FerretServer,
    IronServer,
    MariaDBServer,
    MySQLServer,
    NxServer,
    PostgresServer,
    RabbitServer,
    RedisCluster,
    RedisServer,
    Sentinels,
    SqsServer,
)
from tests.servers.base import free_port


@pytest.fixture(scope="class")
def databases(django_db_blocker: Any) -> Iterator[None]:
    """These tests use databases of their own, so they need none of pytest-django's."""
    with django_db_blocker.unblock():
        yield


class TestMemoryBroker(BrokerContract):
    @pytest.fixture
    def open_another(self) -> Iterator[Opener]:
        yield opener("memory")
        memory.reset()


class OrmContract(BrokerContract):
    """What the classes of the databases share."""

    @pytest.fixture
    def open_another(self, alias: str) -> Opener:
        return opener("orm", alias=alias)


class TestOrmBrokerOnSQLite(OrmContract):
    @pytest.fixture(scope="class")
    @staticmethod
    def alias(tmp_path_factory: pytest.TempPathFactory, databases: None) -> Iterator[str]:
        file = tmp_path_factory.mktemp("queue") / "queue.sqlite3"
        with queue_database({"ENGINE": "django.db.backends.sqlite3", "NAME": file}) as alias:
            yield alias


class TestOrmBrokerOnPostgreSQL(OrmContract, UnreachableContract):
    @pytest.fixture(scope="class")
    @staticmethod
    def alias(postgres_server: PostgresServer, databases: None) -> Iterator[str]:
        with queue_on(postgres_server) as alias:
            yield alias

    @pytest.fixture
    def unreachable(self, tmp_path: Path, databases: None) -> Iterator[Broker]:
        with known_database({"ENGINE": "django.db.backends.postgresql", "NAME": "x", "HOST": str(tmp_path)}) as alias:
            yield opener("orm", alias=alias)()


class TestOrmBrokerOnMariaDB(OrmContract, UnreachableContract):
    @pytest.fixture(scope="class")
    @staticmethod
    def alias(mariadb_server: MariaDBServer, databases: None) -> Iterator[str]:
        with queue_on(mariadb_server) as alias:
            yield alias

    @pytest.fixture
    def unreachable(self, alias: str, tmp_path: Path) -> Iterator[Broker]:
        socket = str(tmp_path / "socket")
        with known_database({"ENGINE": "django.db.backends.mysql", "NAME": "x", "HOST": socket}) as away:
            yield opener("orm", alias=away)()


class TestOrmBrokerOnMySQL(OrmContract):
    @pytest.fixture(scope="class")
    @staticmethod
    def alias(mysql_server: MySQLServer, databases: None) -> Iterator[str]:
        with queue_on(mysql_server) as alias:
            yield alias


class TestRedisBroker(BrokerContract, UnreachableContract):
    @pytest.fixture
    def open_another(self, redis_server: RedisServer) -> Opener:
        return opener("redis", url=redis_server.url)

    @pytest.fixture
    def unreachable(self) -> Broker:
        return opener("redis", url=f"redis://127.0.0.1:{free_port()}/0")()


class TestRedisBrokerUnderSentinels(BrokerContract, UnreachableContract):
    @pytest.fixture
    def open_another(self, sentinels: Sentinels) -> Opener:
        return opener("redis", **normalized({"url": sentinels.url}))

    @pytest.fixture
    def unreachable(self) -> Broker:
        return opener("redis", **normalized({"url": f"redis+sentinel://127.0.0.1:{free_port()}/orders/0"}))()


class TestRedisBrokerOnACluster(BrokerContract, UnreachableContract):
    @pytest.fixture
    def open_another(self, redis_cluster: RedisCluster) -> Opener:
        return opener("redis", **normalized({"url": redis_cluster.url}))

    @pytest.fixture
    def unreachable(self) -> Broker:
        return opener("redis", **normalized({"url": f"redis+cluster://127.0.0.1:{free_port()}"}))()


class TestSqsBroker(BrokerContract, UnreachableContract):
    many = 100  # ten calls; our server looks at every message for each of them

    @pytest.fixture
    def open_another(self, sqs_server: SqsServer) -> Opener:
        return opener("sqs", **sqs_server.options)

    @pytest.fixture
    def unreachable(self, sqs_server: SqsServer) -> Broker:
        return opener("sqs", **{**sqs_server.options, "endpoint_url": f"http://127.0.0.1:{free_port()}"})()


class OffloadContract(BrokerContract):
    """Every payload is a row, and the adapter carries tickets."""

    many = 300

    @pytest.fixture(scope="class", autouse=True)
    @staticmethod
    def payloads_in(tmp_path_factory: pytest.TempPathFactory, databases: None) -> Iterator[None]:
        file = tmp_path_factory.mktemp("payloads") / "payloads.sqlite3"
        with working_on({"ENGINE": "django.db.backends.sqlite3", "NAME": str(file)}):
            with connections["default"].schema_editor() as editor:
                editor.create_model(LargePayload)
            yield

    @pytest.fixture(autouse=True)
    def is_there(self, broker: Broker) -> None:
        assert isinstance(broker, OffloadingBroker)


class TestOffloadOfMemory(OffloadContract):
    @pytest.fixture
    def open_another(self) -> Iterator[Opener]:
        yield opener("memory", offload_large_payloads=1)
        memory.reset()


class TestOffloadOfSqs(OffloadContract):
    many = 100

    @pytest.fixture
    def open_another(self, sqs_server: SqsServer) -> Opener:
        return opener("sqs", offload_large_payloads=1, **sqs_server.options)


class TestOffloadOfRabbit(OffloadContract):
    @pytest.fixture
    def open_another(self, rabbitmq_server: RabbitServer) -> Opener:
        return opener("rabbitmq", offload_large_payloads=1, url=rabbitmq_server.url)


class TestDisqueBroker(BrokerContract, UnreachableContract):
    some_receipt = f"D-01234567-{'x' * 24}-05a1:0:0"

    @pytest.fixture
    def open_another(self, disque_server: DisqueServer) -> Opener:
        return opener("disque", **disque_server.options)

    @pytest.fixture
    def unreachable(self) -> Broker:
        return opener("disque", nodes=(f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"))()


class TestIronMQBroker(BrokerContract, UnreachableContract):
    many = 300

    @pytest.fixture
    def open_another(self, ironmq_server: IronServer) -> Opener:
        return opener("iron_mq", **ironmq_server.options)

    @pytest.fixture
    def unreachable(self, ironmq_server: IronServer) -> Broker:
        return opener("iron_mq", **{**ironmq_server.options, "port": free_port()})()


ASK_FOR_ATOMIC_UPDATES = (
    "test_every_waiting_broker_is_served",
    "test_brokers_that_lease_at_the_same_time_share_each_message_once",
)


class MongoContract(BrokerContract, UnreachableContract):
    """What the servers that speak MongoDB's protocol share."""

    some_receipt = f"{'0' * 24}:1"

    @pytest.fixture
    def unreachable(self) -> Broker:
        url = f"mongodb://127.0.0.1:{free_port()}/?serverSelectionTimeoutMS=500"
        return opener("mongo", kwargs={"host": url})()


@pytest.mark.timeout(900)  # the first who needs the server compiles it
class TestMongoBrokerOnFerretDB(MongoContract):
    many = 300  # it changes a document by reading the whole collection

    @pytest.fixture
    def open_another(self, ferretdb_server: FerretServer) -> Opener:
        return opener("mongo", kwargs={"host": ferretdb_server.url}, database="tests")

    @pytest.fixture(autouse=True)
    def one_at_a_time(self, request: pytest.FixtureRequest) -> None:
        """FerretDB 1 reads documents first and writes them then; MongoDB, and NX, change each in one step."""
        if request.node.originalname in ASK_FOR_ATOMIC_UPDATES:
            pytest.skip("FerretDB 1 has no atomic updates")


class TestMongoBrokerOnNX(MongoContract):
    @pytest.fixture
    def open_another(self, nx_server: NxServer) -> Opener:
        return opener("mongo", kwargs={"host": nx_server.url}, database="tests")


class TestMongoBrokerOnMongoDB(MongoContract):
    @pytest.fixture
    def open_another(self) -> Opener:
        if not (url := os.environ.get("MONGO_URL")):
            pytest.skip("MONGO_URL names no MongoDB")
        return opener("mongo", kwargs={"host": url})


class TestRabbitBroker(BrokerContract, UnreachableContract):
    @pytest.fixture
    def open_another(self, rabbitmq_server: RabbitServer) -> Opener:
        return opener("rabbitmq", url=rabbitmq_server.url)

    @pytest.fixture
    def unreachable(self) -> Broker:
        return opener("rabbitmq", url=f"amqp://127.0.0.1:{free_port()}")()
