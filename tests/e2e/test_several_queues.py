"""One cluster that works on several queues."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from django_cluster.client.client import get_client
from django_cluster.models import Schedule
from django_cluster.tasks import schedule
from tests.conftest import wait_until
from tests.e2e.conftest import MakeProject
from tests.fields import fields
from tests.sample import tasks
from tests.servers import RabbitServer, RedisServer, Server, require

THREE, OTHERS = ["orm", "redis", "rabbitmq"], ["sqs", "mongo"]
on_every_broker_always = pytest.mark.parametrize("broker", [*THREE, *OTHERS])
on_every_broker = pytest.mark.parametrize(
    "broker", [*THREE, *(pytest.param(name, marks=pytest.mark.before_release) for name in OTHERS)]
)

ALTERNATIVES: dict[str, Any] = {"long": {"timeout": 60}, "short": {"timeout": 0.2, "max_attempts": 2, "retry_delay": 0}}


@on_every_broker_always
def test_tasks_of_every_queue_are_run_and_rows_name_where(make_project: MakeProject, broker: str) -> None:
    project = make_project(broker)
    project.start("-n", f"{project.name},mail:3", "-n", "books")

    for cluster in (None, "mail", "books"):
        project.enqueue_many(tasks.nothing, [()] * 40, q_options={"queue": cluster})
    project.enqueue(tasks.nothing, broker=get_client("mail").broker)  # it does not say where it goes

    rows = project.wait_for_rows(121)
    queues = [row.queue for row in rows]
    assert (queues.count(project.name), queues.count("mail"), queues.count("books")) == (40, 41, 40)
    brokers = [get_client(cluster).broker for cluster in (None, "mail", "books")]
    wait_until(lambda: not any(broker.size().total for broker in brokers), because="all should be acknowledged")


@pytest.mark.parametrize("broker", ["orm", "redis", "rabbitmq"])
def test_an_idle_cluster_is_woken_for_any_of_its_queues(make_project: MakeProject, broker: str) -> None:
    project = make_project(broker, poll=5)
    project.start("-n", "mail,books")

    for cluster in ("mail", "books", "books", "mail"):
        project.wait_for_row(project.enqueue(tasks.nothing, queue=cluster), within=4)


@on_every_broker
def test_what_each_queue_says_of_time_limits_and_retries_holds(make_project: MakeProject, broker: str) -> None:
    project = make_project(broker, ALT_CLUSTERS=ALTERNATIVES, kill_grace=5)
    project.start("-n", "*")

    long = project.enqueue(tasks.sleep, 0.5, queue="long")
    short = project.enqueue(tasks.sleep, 30, queue="short")

    assert project.wait_for_row(long).success
    ended = project.wait_for_row(short)
    assert fields(ended, "status", "attempt_count", "queue") == {
        "status": "timeout",
        "attempt_count": 2,
        "queue": "short",
    }


@on_every_broker
def test_killed_pushers_and_monitors_lose_nothing_of_any_queue(make_project: MakeProject, broker: str) -> None:
    project = make_project(broker, retry=2, max_attempts=0, retry_delay=0)
    cluster = project.start("-n", "mail:2,books")
    for name in ("mail", "books"):
        for number in range(60):
            project.enqueue(tasks.touch_and_sleep, str(project.trace), 0.02, f"{name} {number}", queue=name)

    for role in ("pusher", "monitor", "worker", "pusher"):
        cluster.wait_for_replacement(role, cluster.kill(role), 2 if role == "worker" else 1)

    project.wait_for_rows(120)
    assert set(project.traces()) == {f"{name} {number}" for name in ("mail", "books") for number in range(60)}


def test_queues_may_be_on_different_brokers(make_project: MakeProject) -> None:
    project = make_project("redis", ALT_CLUSTERS={"books": {"orm": "default"}})
    project.start("-n", f"{project.name},books")

    first, second = project.enqueue(tasks.nothing), project.enqueue(tasks.nothing, queue="books")

    assert project.wait_for_row(first).queue == project.name
    assert project.wait_for_row(second).queue == "books"


@pytest.fixture
def other_redis() -> Iterator[RedisServer]:
    """Beside the one that all tests share; this one may be hurt."""
    require("redis")
    server = RedisServer(aof=True).start()
    yield server
    server.stop()


@pytest.fixture
def other_rabbit() -> Iterator[RabbitServer]:
    require("rabbitmq")
    server = RabbitServer().start()
    yield server
    server.stop()


@contextmanager
def refusing(server: Server) -> Iterator[None]:
    """Killed, and started again later."""
    server.kill()
    try:
        yield
    finally:
        server.restart()


def test_while_one_server_is_away_the_queues_of_the_others_go_on(
    make_project: MakeProject, other_redis: RedisServer
) -> None:
    project = make_project(
        "redis", recycle=5, retry=3, max_attempts=0, ALT_CLUSTERS={"books": {"redis": other_redis.url}}
    )
    cluster = project.start("-n", f"{project.name},books")
    trace = str(project.trace)
    books = [project.enqueue(tasks.touch_and_sleep, trace, 1, str(n), queue="books") for n in range(4)]
    project.wait_for_traces(2)  # each worker has one

    other_redis.kill()
    ids = [project.enqueue(tasks.nothing) for _ in range(40)]
    for task_id in ids:
        assert project.wait_for_row(task_id).success
    cluster.wait_for_replacement("pusher", cluster.kill("pusher"))
    cluster.wait_for_replacement("monitor", cluster.kill("monitor"))
    assert project.wait_for_row(project.enqueue(tasks.nothing)).success
    assert "The broker of 'books' unavailable" in cluster.logs

    other_redis.restart()
    for task_id in books:
        assert project.wait_for_row(task_id).success
    wait_until(lambda: get_client("books").broker.size().total == 0, because="all should be acknowledged")
    assert sorted(project.traces()) == ["0", "1", "2", "3"]


def test_a_server_that_hangs_does_not_keep_the_queues_of_the_others_waiting(
    make_project: MakeProject, other_redis: RedisServer
) -> None:
    elsewhere = {"books": {"redis": {"host": "127.0.0.1", "port": other_redis.port, "socket_timeout": 1}}}
    project = make_project("redis", ALT_CLUSTERS=elsewhere)
    cluster = project.start("-n", f"{project.name},books")
    assert project.wait_for_row(project.enqueue(tasks.nothing, queue="books")).success

    with other_redis.paused():
        cluster.wait_for_log("The broker of 'books' unavailable")
        for _ in range(20):
            assert project.wait_for_row(project.enqueue(tasks.nothing)).success

    assert project.wait_for_row(project.enqueue(tasks.nothing, queue="books")).success


@pytest.mark.parametrize("victim", ["redis", "rabbitmq"])
def test_of_two_kinds_of_brokers_either_may_be_away(
    make_project: MakeProject, other_redis: RedisServer, other_rabbit: RabbitServer, victim: str
) -> None:
    project = make_project(
        "redis", server=other_redis, retry=3, max_attempts=0, ALT_CLUSTERS={"books": {"rabbitmq": other_rabbit.url}}
    )
    project.start("-n", f"{project.name},books")
    hurt, alive = ("books", None) if victim == "rabbitmq" else (None, "books")
    late = [project.enqueue(tasks.sleep, 1, queue=hurt) for _ in range(2)]
    wait_until(other_rabbit.remembers_its_queues, within=30, because="RabbitMQ should be able to survive a kill")

    with refusing(other_rabbit if victim == "rabbitmq" else other_redis):
        for _ in range(20):
            assert project.wait_for_row(project.enqueue(tasks.nothing, queue=alive)).success

    for task_id in late:
        assert project.wait_for_row(task_id).success
    assert project.wait_for_row(project.enqueue(tasks.nothing, queue=hurt)).success


def test_schedules_are_fired_while_the_server_of_another_queue_is_away(
    make_project: MakeProject, other_redis: RedisServer
) -> None:
    project = make_project("redis", ALT_CLUSTERS={"books": {"redis": other_redis.url}})
    cluster = project.start("-n", f"books,{project.name}")
    other_redis.kill()
    late = schedule("tests.sample.tasks.nothing", schedule_type="O", queue="books")

    cluster.wait_for_log("Schedule table or broker unavailable")
    first = schedule("tests.sample.tasks.nothing", schedule_type="O")

    project.wait_for_rows(1)
    assert not Schedule.objects.filter(pk=first.pk).exists()
    other_redis.restart()
    project.wait_for_rows(2)
    assert not Schedule.objects.filter(pk=late.pk).exists()


def test_a_cluster_may_be_started_on_another_broker(make_project: MakeProject) -> None:
    project = make_project("redis", brokers={"audit": {"orm": "default"}})
    project.start("--broker", "audit")

    task_id = project.enqueue(tasks.nothing, broker="audit")

    assert project.wait_for_row(task_id).success


def test_names_that_make_no_sense_are_told_before_anything_starts(make_project: MakeProject) -> None:
    project = make_project()

    cluster = project.launch("-m", "django", "qcluster", "-n", "mail:0,books")

    cluster.wait_for_log("The weight of 'mail' must be a whole number from 1")
    assert cluster.wait_for_exit() == 1
