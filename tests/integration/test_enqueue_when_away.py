"""``async_task()`` while the broker is down: the caller hears of it soon, and may go on when it is back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.test import override_settings

from django_cluster.client.client import get_client
from django_cluster.errors import BrokerUnavailable
from django_cluster.tasks import async_bulk, async_task
from tests.brokers import queue_on
from tests.sample.tasks import nothing
from tests.servers import PostgresServer, RedisServer, require

SOON = 3.0
"""Seconds for a server that refuses; it takes a few hundredths where the machine has nothing else to do."""


@contextmanager
def project(**q_cluster: Any) -> Iterator[None]:
    with override_settings(Q_CLUSTER={"name": f"tests-{uuid4().hex}", **q_cluster}):
        yield
        get_client().broker.close()


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A server that a test may hurt, with the queue of the project."""
    require("redis")
    server = RedisServer(aof=True).start()
    with project(redis=server.url):
        yield server
    server.stop()


@pytest.fixture
def postgres(django_db_blocker: Any) -> Iterator[PostgresServer]:
    require("postgres")
    server = PostgresServer().start()
    with django_db_blocker.unblock(), queue_on(server) as alias, project(orm=alias, on_commit=False):
        yield server
    server.stop()


def send_one() -> None:
    async_task(nothing)


def send_many() -> None:
    async_bulk(nothing, [()] * 2500)


def check_that_it_is_unavailable(send: Callable[[], None], within: float) -> None:
    began = time.monotonic()
    with pytest.raises(BrokerUnavailable, match="cannot be used now"):
        send()
    assert time.monotonic() - began < within


@pytest.mark.parametrize("send", [send_one, send_many])
@pytest.mark.parametrize("connected", [True, False])
def test_a_redis_that_refuses_is_said_at_once(redis: RedisServer, send: Callable[[], None], connected: bool) -> None:
    if connected:
        send_one()
    redis.terminate()

    check_that_it_is_unavailable(send, within=SOON)
    check_that_it_is_unavailable(send, within=SOON)

    redis.restart()
    send_one()
    assert get_client().broker.size().ready == 1 + connected


@pytest.mark.slow
@pytest.mark.parametrize("connected", [True, False])
def test_a_redis_that_hangs_is_said_within_ten_seconds(redis: RedisServer, connected: bool) -> None:
    if connected:
        send_one()

    with redis.paused():
        check_that_it_is_unavailable(send_one, within=10)

    send_one()


def test_how_long_to_wait_for_a_redis_that_hangs_can_be_said(redis: RedisServer) -> None:
    limits = {"socket_timeout": 0.3, "socket_connect_timeout": 0.3}

    with project(redis={"url": redis.url, **limits}):
        send_one()
        with redis.paused():
            check_that_it_is_unavailable(send_one, within=SOON)
        send_one()


def test_a_full_redis_is_said_at_once(redis: RedisServer) -> None:
    client = [redis.program("redis-cli"), "-e", "-p", str(redis.port), "config", "set"]
    redis.run(*client, "maxmemory", "1")

    check_that_it_is_unavailable(send_one, within=SOON)
    check_that_it_is_unavailable(send_many, within=SOON)

    redis.run(*client, "maxmemory", "0")
    send_one()
    assert get_client().broker.size().ready == 1


@pytest.mark.parametrize("send", [send_one, send_many])
@pytest.mark.parametrize("connected", [True, False])
def test_a_postgres_that_refuses_is_said_at_once(
    postgres: PostgresServer, send: Callable[[], None], connected: bool
) -> None:
    if connected:
        send_one()
    else:
        get_client().broker.close()
    postgres.terminate()

    check_that_it_is_unavailable(send, within=SOON)
    check_that_it_is_unavailable(send, within=SOON)

    postgres.restart()
    send_one()
    assert get_client().broker.size().ready == 1 + connected


def test_a_read_only_postgres_is_said_at_once(postgres: PostgresServer) -> None:
    with psycopg.connect(host=str(postgres.folder), user="postgres", autocommit=True) as console:
        console.execute("ALTER ROLE postgres SET default_transaction_read_only = on")
        get_client().broker.close()

        check_that_it_is_unavailable(send_one, within=SOON)

        console.execute("ALTER ROLE postgres SET default_transaction_read_only = off")
        get_client().broker.close()
    send_one()
    assert get_client().broker.size().ready == 1
