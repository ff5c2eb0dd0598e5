"""A task costs the same whether a thousand wait or a million: counted in pages and steps, not in seconds."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from redis import Redis

from django_cluster.brokers.base import Broker
from django_cluster.brokers.messages import Message
from django_cluster.testing.contracts import receipts
from tests.brokers import opener, queue_database, queue_on
from tests.servers import PostgresServer, RedisServer

FEW, MANY = 1_000, 1_000_000
PORTION = 100
TOLERANCE = 1.2

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def databases(django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock():
        yield


def lend_and_settle(broker: Broker) -> None:
    """What a cluster does all the time: claim a portion, keep it, and acknowledge it."""
    deliveries = broker.lease(PORTION)
    assert len(deliveries) == PORTION
    assert broker.renew(receipts(deliveries)) == []
    broker.acknowledge(receipts(deliveries))


def copy_rows(alias: str, numbers: str) -> None:
    """Many copies of the only row, as fast as the database can make them."""
    columns = "queue, lane, due, priority, lease_number, leased, attempts, payload"
    connections[alias].cursor().execute(
        f"INSERT INTO django_cluster_queuedtask ({columns}) SELECT {columns} FROM django_cluster_queuedtask, {numbers}"
    )


# ── PostgreSQL: the pages that it touches ────────────────────────────────────────────────────────


class Counted:
    """Sums up the pages that all statements of a connection have touched, sorting on disk included."""

    def __init__(self) -> None:
        self.pages = 0

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith(("WITH", "SELECT", "UPDATE", "DELETE")) and "django_cluster_queuedtask" in sql:
            cursor = context["connection"].connection.cursor()
            cursor.execute("SAVEPOINT counted")
            cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", params)
            plan = cursor.fetchone()[0][0]["Plan"]
            self.pages += sum(value for name, value in plan.items() if name.endswith(("Hit Blocks", "Read Blocks")))
            cursor.execute("ROLLBACK TO SAVEPOINT counted")
        return execute(sql, params, many, context)


def pages_of_a_portion(alias: str, broker: Broker) -> int:
    connection = connections[alias]
    connection.ensure_connection()
    counted = Counted()
    connection.set_autocommit(False)
    try:
        with connection.execute_wrapper(counted):
            lend_and_settle(broker)
        connection.commit()
    finally:
        connection.rollback()
        connection.set_autocommit(True)
    return counted.pages


@pytest.mark.parametrize("statistics", ["old", "fresh"])
def test_a_portion_costs_postgresql_the_same_at_a_million(postgres_server: PostgresServer, statistics: str) -> None:
    with queue_on(postgres_server) as alias:
        broker = opener("orm", alias=alias)()
        broker.enqueue([Message("x" * 200)])
        copy_rows(alias, f"generate_series(2, {FEW})")
        connections[alias].cursor().execute("ANALYZE django_cluster_queuedtask")
        pages_of_a_portion(alias, broker)
        few = pages_of_a_portion(alias, broker)

        broker.purge()
        broker.enqueue([Message("x" * 200)])
        copy_rows(alias, f"generate_series(2, {MANY})")
        if statistics == "fresh":
            connections[alias].cursor().execute("VACUUM ANALYZE django_cluster_queuedtask")
        pages_of_a_portion(alias, broker)
        many = pages_of_a_portion(alias, broker)

    # A higher tree costs a page for each row that is looked up in it: three look-ups, three new entries.
    assert many <= few * TOLERANCE + 6 * PORTION, f"{few} pages with {FEW} waiting, {many} with {MANY}"


# ── SQLite: the steps of its machine ─────────────────────────────────────────────────────────────


def steps_of_a_portion(raw: sqlite3.Connection, broker: Broker) -> int:
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    raw.set_progress_handler(count, 10)
    lend_and_settle(broker)
    raw.set_progress_handler(None, 0)
    return steps


def test_a_portion_costs_sqlite_the_same_at_a_million(tmp_path: Path) -> None:
    entry = {"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "queue.sqlite3"}
    numbers = "(WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < {}) SELECT i FROM n)"
    with queue_database(entry) as alias:
        broker = opener("orm", alias=alias)()
        broker.enqueue([Message("x" * 200)])
        copy_rows(alias, numbers.format(FEW))
        raw = connections[alias].connection
        few = steps_of_a_portion(raw, broker)

        copy_rows(alias, numbers.format(MANY // FEW))
        assert broker.size().ready >= 800_000
        many = steps_of_a_portion(raw, broker)

    assert many <= few * TOLERANCE


# ── Redis: the commands of its scripts ───────────────────────────────────────────────────────────


def commands_of_a_portion(console: Any, broker: Broker) -> dict[str, int]:
    console.config_resetstat()
    lend_and_settle(broker)
    statistics: dict[str, Any] = console.info("commandstats")
    # "set" notes now and then that a cluster was here, which is a matter of time and not of messages.
    passing = ("config", "info", "cmdstat_set")
    return {name: each["calls"] for name, each in statistics.items() if not any(map(name.__contains__, passing))}


def test_a_portion_costs_redis_the_same_at_a_million(redis_server: RedisServer) -> None:
    broker = opener("redis", url=redis_server.url)()
    with Redis.from_url(redis_server.url) as client:
        console: Any = client
        broker.enqueue([Message("x" * 200)] * FEW)
        lend_and_settle(broker)
        few = commands_of_a_portion(console, broker)

        for _ in range(MANY // 100_000):
            broker.enqueue([Message("x" * 200)] * 100_000)
        assert broker.size().ready >= MANY
        many = commands_of_a_portion(console, broker)

        assert many == few
        # None of them walks through what waits: only the two ends of the list are touched.
        assert not {"cmdstat_lindex", "cmdstat_linsert", "cmdstat_lrem", "cmdstat_lpos", "cmdstat_keys"} & many.keys()
    broker.purge()
    broker.close()
