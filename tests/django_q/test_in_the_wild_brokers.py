"""How projects use Django-Q's brokers: by class, by ``get_broker``, and classes of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings
from django.utils import timezone

from django_cluster.brokers.messages import Message
from django_cluster.client.client import get_client
from django_cluster.errors import BrokerUnavailable
from django_cluster.models import QueuedTask, Task
from django_cluster.tasks import async_task, queue_size, result
from django_cluster.testing.drain import drain
from tests.django_q import foreign_brokers
from tests.sample.tasks import add, fail

pytestmark = pytest.mark.django_db

FOREIGN = "tests.django_q.foreign_brokers"


def package(task_id: str = "1" * 32) -> str:
    from django_q.signing import SignedPackage

    task = {"id": task_id, "name": "n", "func": add, "args": (1, 2), "kwargs": {}, "started": timezone.now()}
    return str(SignedPackage.dumps(task))


# ── the brokers of this package ──────────────────────────────────────────────────────────────────


def test_a_message_is_deleted_by_the_id_that_enqueue_returned() -> None:
    from django_q.brokers import get_broker

    broker = get_broker()
    first, second = (broker.enqueue(package(digit * 32)) for digit in "12")
    assert (first, second) == ("1" * 32, "2" * 32)

    broker.delete(first)
    assert broker.queue_size() == 1
    ((receipt, text),) = broker.dequeue()
    assert text.startswith("dc1")
    broker.acknowledge(receipt)
    assert (broker.dequeue(), QueuedTask.objects.count()) == (None, 0)


def test_any_text_can_be_enqueued() -> None:
    from django_q.brokers import get_broker

    broker = get_broker("texts")
    ids = [broker.enqueue(text) for text in ("one", "two")]
    broker.fail(ids[0])
    assert [text for _, text in broker.dequeue()] == ["two"]


def test_the_queue_of_a_broker_can_be_changed() -> None:
    from django_q.brokers import get_broker

    broker = get_broker()
    broker.list_key = "aside"
    broker.enqueue(package())

    assert (broker.list_key, broker.queue_size(), get_broker("aside").queue_size(), queue_size()) == ("aside", 1, 1, 0)


def test_a_broker_is_made_by_its_class() -> None:
    from django_q.brokers import Broker, get_broker
    from django_q.brokers.orm import ORM

    broker = ORM(list_key="elsewhere")

    assert (broker.list_key, broker.queue_size(), broker.ping()) == ("elsewhere", 0, True)
    assert isinstance(broker, Broker)
    assert isinstance(get_broker(), ORM)
    assert ORM().list_key == get_broker().list_key
    assert result(async_task(add, 1, 2, broker=ORM(), sync=True)) == 3
    async_task(add, 1, 2, broker=broker)
    assert broker.queue_size() == 1


@pytest.mark.parametrize(
    ("module", "name", "configured"),
    [
        ("redis_broker", "Redis", {"redis": {"host": "127.0.0.1", "port": 1}}),
        ("aws_sqs", "Sqs", {"sqs": {"aws_region": "eu-west-1"}}),
        ("mongo", "Mongo", {}),
        ("ironmq", "IronMQBroker", {"iron_mq": {"host": "mq", "token": "t", "project_id": "p"}}),
        ("orm", "ORM", {"redis": {}}),
    ],
)
def test_a_class_takes_its_own_settings_whichever_broker_is_configured(
    module: str, name: str, configured: dict[str, Any]
) -> None:
    from importlib import import_module

    with override_settings(Q_CLUSTER=configured):
        broker = getattr(import_module(f"django_q.brokers.{module}"), name)(list_key="long")
        assert (broker.list_key, broker.settings.queue) == ("long", "long")
        broker.close()


def test_a_class_of_ones_own_may_inherit_from_one_of_django_qs() -> None:
    from django_q.brokers.orm import ORM

    class Own(ORM):  # type: ignore[misc]  # Django-Q's class has no types
        def info(self) -> str:
            return f"own {super().info()}"

    assert Own(list_key="x").info().startswith("own ")


# ── brokers that were written for Django-Q ───────────────────────────────────────────────────────


@pytest.fixture(params=["ListBroker", "FolderBroker"])
def foreign(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv(foreign_brokers.FOLDER, str(tmp_path))
    foreign_brokers.ListBroker.queues.clear()
    with override_settings(
        Q_CLUSTER={"name": "foreign", "on_commit": False, "broker_class": f"{FOREIGN}.{request.param}"}
    ):
        yield request.param


def test_a_foreign_broker_carries_tasks(foreign: str) -> None:
    from django_q.brokers import get_broker

    ids = [async_task(add, number, 1) for number in range(3)]
    assert (queue_size(), get_broker().queue_size()) == (3, 3)

    assert drain() == ids

    assert [result(task_id) for task_id in ids] == [1, 2, 3]
    assert (get_broker().queue_size(), get_broker().lock_size() or 0) == (0, 0)
    assert type(get_broker()).__name__ == foreign


def test_a_failed_task_is_sent_again_and_its_attempts_are_counted(foreign: str) -> None:
    async_task(fail, q_options={"max_attempts": 3, "retry_delay": 0})

    assert len(drain(raise_errors=False)) == 3
    assert (Task.objects.get().attempt_count, queue_size()) == (3, 0)


def test_what_was_not_started_returns_to_the_queue(foreign: str) -> None:
    broker = get_client().broker
    broker.enqueue([Message("one"), Message("two", attempts=4)])
    leased = broker.lease(2)
    assert [(each.payload, each.attempt) for each in leased] == [("one", 1), ("two", 5)]

    broker.release(leased, refund_attempt=True)

    assert [(each.payload, each.attempt) for each in broker.lease(2)] == [("one", 1), ("two", 5)]
    assert broker.size().leased == 2
    assert broker.purge() >= 0
    assert (list(broker.lease(1)), broker.renew([leased[0].receipt])) == ([], [leased[0].receipt])


def test_a_task_may_be_sent_by_an_instance(foreign: str) -> None:
    from django_q.brokers import get_broker

    async_task(add, 1, 2, broker=get_broker("aside"))

    assert (get_broker("aside").queue_size(), get_broker().queue_size()) == (1, 0)
    assert drain("aside")


def test_at_least_once_remains_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that nothing acknowledges comes back, but not to the process that holds it."""
    monkeypatch.setenv(foreign_brokers.FOLDER, str(tmp_path))
    monkeypatch.setattr(foreign_brokers.FolderBroker, "HIDDEN_SECONDS", -1)
    with override_settings(
        Q_CLUSTER={"name": "foreign", "on_commit": False, "broker_class": f"{FOREIGN}.FolderBroker"}
    ):
        get_client().broker.enqueue([Message("one")])
        assert [each.payload for each in get_client().broker.lease(1)] == ["one"]
        assert list(get_client().broker.lease(1, not_after=0.0)) == []
        another = type(get_client().broker)(get_client().broker.settings)
        assert [each.payload for each in another.lease(1)] == ["one"]


def test_a_foreign_broker_that_raises_is_unavailable() -> None:
    with override_settings(
        Q_CLUSTER={"name": "foreign", "on_commit": False, "broker_class": f"{FOREIGN}.BrokenBroker"}
    ):
        with pytest.raises(BrokerUnavailable, match="BrokenBroker raised OSError: no route to host"):
            async_task(add, 1, 2)
        with pytest.raises(BrokerUnavailable, match="no route"):
            get_client().broker.lease(1)
