"""Several queues as one keep the promise of a broker; what is enqueued here goes to the first of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from django_cluster.brokers.base import Broker
from django_cluster.brokers.multi_queue import MultiQueueBroker
from django_cluster.core.settings.redis_topology import normalized
from django_cluster.testing.contracts import BrokerContract, Opener
from tests.brokers import opener, queue_database, queue_on
from tests.servers import PostgresServer, RedisCluster, RedisServer


@pytest.fixture(scope="class")
def databases(django_db_blocker: Any) -> Iterator[None]:
    """These tests use databases of their own, so they need none of pytest-django's."""
    with django_db_blocker.unblock():
        yield


class SeveralContract(BrokerContract):
    @pytest.fixture
    def open_another(self, open_member: Opener) -> Opener:
        def open_several(**changes: Any) -> Broker:
            first = open_member(**changes)
            other = open_member(**{**changes, "queue": f"{first.queue} too"})
            return MultiQueueBroker([first, other], [2, 1])

        return open_several


class TestOnRedis(SeveralContract):
    @pytest.fixture
    def open_member(self, redis_server: RedisServer) -> Opener:
        return opener("redis", url=redis_server.url)


class TestOnARedisCluster(SeveralContract):
    @pytest.fixture
    def open_member(self, redis_cluster: RedisCluster) -> Opener:
        return opener("redis", **normalized({"url": redis_cluster.url}))


class TestOnSQLite(SeveralContract):
    @pytest.fixture(scope="class")
    @staticmethod
    def alias(tmp_path_factory: pytest.TempPathFactory, databases: None) -> Iterator[str]:
        file = tmp_path_factory.mktemp("queue") / "queue.sqlite3"
        with queue_database({"ENGINE": "django.db.backends.sqlite3", "NAME": file}) as alias:
            yield alias

    @pytest.fixture
    def open_member(self, alias: str) -> Opener:
        return opener("orm", alias=alias)


class TestOnPostgreSQL(SeveralContract):
    @pytest.fixture(scope="class")
    @staticmethod
    def alias(postgres_server: PostgresServer, databases: None) -> Iterator[str]:
        with queue_on(postgres_server) as alias:
            yield alias

    @pytest.fixture
    def open_member(self, alias: str) -> Opener:
        return opener("orm", alias=alias)
