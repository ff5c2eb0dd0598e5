"""Servers that go away and come back while a cluster works: it goes on by itself, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import wait_until
from tests.e2e.conftest import MakeProject
from tests.e2e.project import Project
from tests.servers import PostgresServer, RedisServer, require

FORGIVING = {"max_attempts": 0, "retry_delay": 0.1, "retry": 2}


@pytest.fixture
def durable_redis() -> Iterator[RedisServer]:
    require("redis")
    server = RedisServer(aof=True).start()
    yield server
    server.stop()


# A test asks for its server first and for its project second, so that the cluster ends before the server does.


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    require("postgres")
    server = PostgresServer().start()
    yield server
    server.stop()


def put_under_load(project: Project, number: int) -> list[str]:
    path = str(project.trace)
    ids = project.enqueue_many("tests.sample.tasks.touch_and_sleep", [(path, 0.005, str(n)) for n in range(number)])
    wait_until(lambda: project.count() >= 20, because="the work should be under way")
    return ids


def check_that_all_succeeded(project: Project, ids: list[str]) -> None:
    rows = project.wait_for_rows(len(ids))
    assert {row.id for row in rows if row.success} == set(ids)


def test_a_redis_that_hangs_for_a_while_is_waited_for(durable_redis: RedisServer, make_project: MakeProject) -> None:
    project = make_project("redis", server=durable_redis, **FORGIVING)
    cluster = project.start()
    ids = put_under_load(project, 300)

    with durable_redis.paused():
        # The workers run out of work, and the monitor cannot acknowledge.
        wait_until(lambda: "unavailable" in cluster.logs, 20, "the cluster should notice")

    check_that_all_succeeded(project, ids)
    cluster.wait_for_log("available again")
    assert project.wait_for_row(project.enqueue("tests.sample.tasks.add", 1, 1)).result == 2


def test_a_redis_that_is_killed_and_started_again_loses_nothing(
    durable_redis: RedisServer, make_project: MakeProject
) -> None:
    project = make_project("redis", server=durable_redis, **FORGIVING)
    cluster = project.start()
    before = {process.pid for process in cluster.members()}
    ids = put_under_load(project, 300)

    durable_redis.kill()
    cluster.wait_for_log("unavailable")
    durable_redis.restart()

    check_that_all_succeeded(project, ids)
    assert {process.pid for process in cluster.members()} == before
    wait_until(lambda: project.broker().size().total == 0, 10, "every message should have been acknowledged")


def test_an_outage_is_said_once_and_not_for_every_attempt(
    durable_redis: RedisServer, make_project: MakeProject
) -> None:
    project = make_project("redis", server=durable_redis, **FORGIVING)
    cluster = project.start()

    durable_redis.kill()
    cluster.wait_for_log("unavailable")
    durable_redis.restart()
    cluster.wait_for_log("available again")

    assert len([line for line in cluster.logs.splitlines() if "unavailable" in line]) <= 3
    assert project.wait_for_row(project.enqueue("tests.sample.tasks.add", 1, 1)).result == 2


def test_a_cluster_waits_for_a_redis_that_comes_later(durable_redis: RedisServer, make_project: MakeProject) -> None:
    project = make_project("redis", server=durable_redis)
    durable_redis.terminate()
    cluster = project.launch("-m", "django", "qcluster")
    cluster.wait_for_log("unavailable")

    durable_redis.restart()

    cluster.wait_for_log("available again")
    assert project.wait_for_row(project.enqueue("tests.sample.tasks.add", 1, 1)).result == 2


@pytest.mark.parametrize("broker", ["orm", "redis"])
def test_a_database_that_restarts_loses_nothing(
    own_postgres: PostgresServer, make_project: MakeProject, broker: str
) -> None:
    project = make_project(broker, server=own_postgres, **FORGIVING)
    cluster = project.start()
    ids = put_under_load(project, 300)
    project.forget_connection()

    own_postgres.kill()
    cluster.wait_for_log("unavailable")
    own_postgres.restart()

    check_that_all_succeeded(project, ids)
    assert cluster.alive
