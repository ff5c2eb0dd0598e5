"""Where messages can be: the servers, and the two ways to each of them. Django has to be set up."""

from __future__ import annotations

import re
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from django.db import connections

from benchmarks.brokers import bare
from benchmarks.brokers.sides import Ours, Side
from benchmarks.servers import SQLITE_OPTIONS, BenchPostgres, number_in, output_of
from django_cluster.core.settings.redis_topology import normalized
from tests import servers
from tests.brokers import opener, queue_database, queue_on


@dataclass(frozen=True, slots=True)
class Ground:
    """A server that is up."""

    ours: Callable[[], Side]
    floor: Callable[[], Side]
    version: str
    """Of the server."""


@dataclass(frozen=True, slots=True)
class Place:
    """A broker and its server, in the words of the tables."""

    kept: str
    """Where a message is when the server has said that it keeps it."""
    client: str
    """The distribution of the floor's client, whose version is reported; empty: none of its own."""
    does: tuple[str, str, str]
    """What the floor does to send one, to send many, and to take many."""
    needs: str | None
    """A name of ``tests.servers.SERVERS``."""
    open: Callable[[], AbstractContextManager[Ground]]

    def missing(self) -> list[str]:
        """What this machine lacks."""
        return servers.SERVERS[self.needs].missing() if self.needs else []


# ── databases ────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def on_sqlite() -> Iterator[Ground]:
    with tempfile.TemporaryDirectory(prefix="dc-") as folder:
        path = str(Path(folder) / "queue.sqlite3")
        with queue_database({"ENGINE": "django.db.backends.sqlite3", "NAME": path, "OPTIONS": SQLITE_OPTIONS}) as alias:
            yield Ground(by_orm(alias), lambda: bare.BareSQLite(path), sqlite3.sqlite_version)


@contextmanager
def on_postgres() -> Iterator[Ground]:
    with running(BenchPostgres()) as server, queue_on(server) as alias:
        entry = dict(connections[alias].settings_dict)
        number = number_in(output_of(server.program("postgres"), "--version"))
        yield Ground(by_orm(alias), lambda: bare.BarePostgres(entry), number)


@contextmanager
def on_mariadb() -> Iterator[Ground]:
    with running(servers.MariaDBServer()) as server, queue_on(server) as alias:
        entry = dict(connections[alias].settings_dict)
        # The first number in its words belongs to the program that prints them, or not: it depends on the packager.
        words = output_of(server.program("mariadbd"), "--no-defaults", "--version")
        found = re.search(r"(\d+(\.\d+)+)-MariaDB", words)
        yield Ground(by_orm(alias), lambda: bare.BareMariaDB(entry), found[1] if found else number_in(words))


def by_orm(alias: str) -> Callable[[], Side]:
    return through("orm", alias=alias)


# ── Redis ────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def on_redis() -> Iterator[Ground]:
    from redis import Redis

    with running(servers.RedisServer()) as server:
        floor = lambda: bare.BareRedis(Redis.from_url(server.url))  # noqa: E731
        yield Ground(by_redis(server.url), floor, redis_version(server))


@contextmanager
def on_sentinels() -> Iterator[Ground]:
    from redis.sentinel import Sentinel

    with running(servers.Sentinels()) as family:
        ports = [("127.0.0.1", each.port) for each in family.sentinels]

        def floor() -> Side:
            return bare.BareRedis(Sentinel(ports).master_for(family.master_name))  # type: ignore[no-untyped-call]

        yield Ground(by_redis(family.url), floor, redis_version(family.master))


@contextmanager
def on_redis_cluster() -> Iterator[Ground]:
    from redis.cluster import RedisCluster

    with running(servers.RedisCluster()) as cluster:
        first = cluster.nodes[0]
        floor = lambda: bare.BareRedis(RedisCluster("127.0.0.1", first.port))  # noqa: E731
        yield Ground(by_redis(cluster.url), floor, redis_version(first))


def by_redis(url: str) -> Callable[[], Side]:
    return through("redis", **normalized({"url": url}))


def redis_version(server: servers.RedisServer) -> str:
    return number_in(output_of(server.program("redis-server"), "--version"))


# ── the others ───────────────────────────────────────────────────────────────────────────────────


@contextmanager
def on_rabbitmq() -> Iterator[Ground]:
    with running(servers.RabbitServer()) as server:
        broker = opener("rabbitmq", url=server.url)()
        number = number_in(broker.info())
        broker.close()
        floor = lambda: bare.BareRabbit(f"127.0.0.1:{server.port}")  # noqa: E731
        yield Ground(through("rabbitmq", url=server.url), floor, number)


@contextmanager
def on_moto() -> Iterator[Ground]:
    with running(servers.SqsServer()) as server:
        yield Ground(through("sqs", **server.options), lambda: bare.BareSqs(server.options), version("moto"))


@contextmanager
def on_nx() -> Iterator[Ground]:
    with running(servers.NxServer()) as server:
        ours = through("mongo", kwargs={"host": server.url})
        yield Ground(ours, lambda: bare.BareMongo(server.url), version("nx-27017"))


# ── helpers ──────────────────────────────────────────────────────────────────────────────────────


def through(kind: str, **options: Any) -> Callable[[], Side]:
    """Opens our side; each time the same queue."""
    open_another = opener(kind, **options)
    return lambda: Ours(open_another())


@contextmanager
def running(server: Any) -> Iterator[Any]:
    try:
        yield server.start()
    finally:
        server.stop()


SQL = ("INSERT", "INSERT of a batch", "DELETE … RETURNING")
REDIS = ("RPUSH", "RPUSH of a batch", "LPOP of a batch")
PUBLISH = ("publish, confirmed", "publish a batch, confirmed", "consume, one ack a batch")
DISK, FILE, MEMORY = "on disk, synced", "in a file", "in memory"

PLACES = {
    "SQLite": Place(DISK, "", SQL, None, on_sqlite),
    "PostgreSQL": Place(DISK, "psycopg", SQL, "postgres", on_postgres),
    "MariaDB": Place(DISK, "mysqlclient", SQL, "mariadb", on_mariadb),
    "Redis": Place(MEMORY, "redis", REDIS, "redis", on_redis),
    "Redis under Sentinels": Place(MEMORY, "redis", REDIS, "redis", on_sentinels),
    "Redis Cluster": Place(MEMORY, "redis", REDIS, "redis", on_redis_cluster),
    "RabbitMQ": Place(DISK, "amqp", PUBLISH, "rabbitmq", on_rabbitmq),
    "SQS (moto)": Place(MEMORY, "boto3", ("send", "send, 10 a call", "receive and delete, 10 a call"), "sqs", on_moto),
    "MongoDB (NX-27017)": Place(
        FILE, "pymongo", ("insert_one", "insert_many", "find and delete_many"), "nx-27017", on_nx
    ),
}
