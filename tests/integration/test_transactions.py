"""Tasks that are sent inside a transaction: none runs before the commit, none after a rollback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.test import SimpleTestCase, TestCase, override_settings

from django_cluster.brokers import memory
from django_cluster.brokers.base import Broker
from django_cluster.client.client import get_client
from django_cluster.errors import BrokerUnavailable, NotSerializable
from django_cluster.models import QueuedTask
from django_cluster.tasks import async_bulk, async_task, result
from django_cluster.testing import enqueued, forget_enqueued, run_pending
from django_cluster.testing.drain import drain
from tests.brokers import known_database
from tests.sample import tasks
from tests.servers import RedisServer

SQLITE = "django.db.backends.sqlite3"

SetUp = Callable[..., Broker]


@pytest.fixture
def set_up(settings: Any) -> Iterator[SetUp]:
    """Makes ``Q_CLUSTER`` of these settings; returns the broker that then serves this thread."""

    def make(**q_cluster: Any) -> Broker:
        settings.Q_CLUSTER = {"name": f"tests-{uuid4().hex}", **q_cluster}
        return get_client().broker

    yield make
    memory.reset()


@pytest.fixture(params=["memory", "redis"])
def outside(request: pytest.FixtureRequest, set_up: SetUp) -> Broker:
    """A queue that knows nothing of the database's transactions."""
    if request.param == "memory":
        return set_up(broker="memory")
    server: RedisServer = request.getfixturevalue("redis_server")
    return set_up(redis=server.url)


@contextmanager
def rolled_back() -> Iterator[None]:
    """A transaction, or a savepoint in one, that comes to nothing."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


class TestAQueueOutsideTheDatabase:
    pytestmark = pytest.mark.django_db(transaction=True)

    def test_a_task_leaves_when_the_transaction_is_committed(self, outside: Broker) -> None:
        with transaction.atomic():
            task_id = async_task(tasks.add, 1, 2)
            before = outside.size().total

        assert before == 0
        assert [package.id for package in enqueued()] == [task_id]

    def test_a_task_never_leaves_when_the_transaction_is_rolled_back(self, outside: Broker) -> None:
        with rolled_back():
            async_task(tasks.nothing)

        assert outside.size().total == 0

    def test_a_savepoint_that_is_rolled_back_takes_its_tasks_with_it(self, outside: Broker) -> None:
        with transaction.atomic():
            first = async_task(tasks.nothing)
            with rolled_back():
                async_task(tasks.nothing)
            last = async_task(tasks.nothing)

        assert [package.id for package in enqueued()] == [first, last]

    def test_without_a_transaction_a_task_leaves_at_once(self, outside: Broker) -> None:
        async_task(tasks.nothing)

        assert outside.size().ready == 1

    def test_a_bulk_waits_as_one(self, outside: Broker) -> None:
        with transaction.atomic():
            ids = async_bulk(tasks.echo, [1, 2, 3])
            before = outside.size().total

        assert before == 0
        assert [package.id for package in enqueued()] == ids

    def test_calls_of_one_transaction_leave_together(self, outside: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
        calls: list[int] = []
        send = type(outside).enqueue

        def counted(broker: Broker, messages: Any) -> None:
            calls.append(len(messages))
            send(broker, messages)

        monkeypatch.setattr(type(outside), "enqueue", counted)
        with transaction.atomic():
            ids = [async_task(tasks.echo, number) for number in range(3)]
            with rolled_back():
                async_task(tasks.nothing)
            ids += async_bulk(tasks.echo, ["a", "b"])
            ids.append(async_task(tasks.nothing, q_options={"track": True}))

        assert calls == [5, 1]
        assert [package.id for package in enqueued()] == ids

    def test_a_callback_of_the_project_keeps_its_place(self, outside: Broker) -> None:
        seen: list[int] = []
        with transaction.atomic():
            async_task(tasks.nothing)
            async_task(tasks.nothing)
            transaction.on_commit(lambda: seen.append(outside.size().total))
            async_task(tasks.nothing)

        assert (seen, outside.size().total) == ([2], 3)

    def test_a_call_may_decline_to_wait(self, outside: Broker) -> None:
        with rolled_back():
            async_task(tasks.nothing, q_options={"on_commit": False})

        assert outside.size().ready == 1

    def test_the_arguments_are_those_of_the_call(self, outside: Broker) -> None:
        basket = ["apple"]

        with transaction.atomic():
            async_task(tasks.echo, basket)
            basket.append("pear")

        assert enqueued()[0].args == (["apple"],)

    def test_what_cannot_be_sent_is_refused_at_the_call(self, outside: Broker) -> None:
        with transaction.atomic(), pytest.raises(NotSerializable):
            async_task(tasks.echo, tasks.Unpicklable())

        assert outside.size().total == 0

    def test_a_broker_that_is_named_in_the_call_waits_too(self, set_up: SetUp) -> None:
        other = set_up(broker="memory")
        set_up()

        with transaction.atomic():
            async_task(tasks.nothing, broker=other)
            before = other.size().total

        assert (before, other.size().total) == (0, 1)

    def test_with_sync_a_task_runs_at_once(self, outside: Broker) -> None:
        with transaction.atomic():
            task_id = async_task(tasks.add, 1, 2, sync=True)

            assert result(task_id) == 3


def test_another_database_can_be_waited_for(set_up: SetUp, tmp_path: Path, django_db_blocker: Any) -> None:
    with django_db_blocker.unblock(), known_database({"ENGINE": SQLITE, "NAME": tmp_path / "orders"}) as orders:
        broker = set_up(broker="memory", on_commit=orders)

        with transaction.atomic(using=orders):
            async_task(tasks.nothing)
            inside = broker.size().ready

        assert (inside, broker.size().ready) == (0, 1)


@pytest.mark.django_db(transaction=True)
class TestSettings:
    def test_a_cluster_may_decline_to_wait(self, set_up: SetUp) -> None:
        broker = set_up(broker="memory", on_commit=False)

        with transaction.atomic():
            async_task(tasks.nothing)
            inside = broker.size().ready

        assert inside == 1

    def test_a_call_may_wait_where_the_cluster_does_not(self, set_up: SetUp) -> None:
        broker = set_up(broker="memory", on_commit=False)

        with transaction.atomic():
            async_task(tasks.nothing, q_options={"on_commit": True})
            inside = broker.size().ready

        assert (inside, broker.size().ready) == (0, 1)

    def test_a_word_that_means_nothing_is_refused(self, set_up: SetUp) -> None:
        set_up(broker="memory")

        with pytest.raises(TypeError, match="on_commit"):
            async_task(tasks.nothing, q_options={"on_commit": 1})


@pytest.mark.django_db(transaction=True)
class TestAQueueInTheDatabase:
    def test_the_message_is_part_of_the_transaction(self, set_up: SetUp) -> None:
        set_up()

        with rolled_back():
            async_task(tasks.nothing)
            inside = QueuedTask.objects.count()

        assert (inside, QueuedTask.objects.count()) == (1, 0)

    def test_nothing_is_left_to_the_commit(self, set_up: SetUp) -> None:
        set_up()

        with transaction.atomic():
            async_task(tasks.nothing)

            assert connection.run_on_commit == []


@pytest.mark.server("redis")
@pytest.mark.django_db(transaction=True)
def test_when_the_broker_is_away_the_commit_says_so_and_stands(set_up: SetUp) -> None:
    server = RedisServer().start()
    set_up(redis=server.url)
    server.stop()

    @transaction.atomic
    def order() -> None:
        Group.objects.create(name="an order")
        async_task(tasks.nothing)

    with pytest.raises(BrokerUnavailable) as caught:
        order()

    assert "is committed" in caught.value.__notes__[0]
    assert Group.objects.filter(name="an order").exists()


# ── under Django's TestCase, whose transaction is never committed ────────────────────────────────


class TestInsideATestCase(TestCase):
    """As a project would write it; the queue is Redis."""

    @pytest.fixture(autouse=True)
    def use_redis(self, redis_server: RedisServer) -> Iterator[None]:
        with override_settings(Q_CLUSTER={"name": f"tests-{uuid4().hex}", "redis": redis_server.url}):
            yield
            forget_enqueued()

    def test_a_task_waits_for_a_commit_that_never_comes(self) -> None:
        async_task(tasks.add, 1, 2)

        assert drain() == []

    def test_captured_callbacks_send_it(self) -> None:
        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            task_id = async_task(tasks.add, 1, 2)

        assert len(callbacks) == 1
        assert drain() == [task_id]
        assert result(task_id) == 3

    def test_run_pending_sends_and_runs_it(self) -> None:
        task_id = async_task(tasks.add, 1, 2)

        assert run_pending() == [task_id]
        assert result(task_id) == 3


class TestOutsideOfAnyDatabase(SimpleTestCase):
    def test_a_task_can_be_sent_without_touching_one(self) -> None:
        with override_settings(Q_CLUSTER={"name": uuid4().hex, "broker": "memory"}):
            async_task(tasks.nothing)

            assert len(enqueued()) == 1
        memory.reset()
