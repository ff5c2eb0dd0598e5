"""Messages of tracked tasks that did not reach their broker: who keeps them, who sends them, and how often they run."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from django_cluster.brokers import memory
from django_cluster.brokers.memory import MemoryBroker
from django_cluster.brokers.messages import Message
from django_cluster.brokers.publisher import Publisher
from django_cluster.client.client import get_client
from django_cluster.errors import BrokerUnavailable
from django_cluster.lifecycle.unsent import UnsentTasks
from django_cluster.models import TrackedTask
from django_cluster.testing.drain import drain
from django_cluster.testing.transactions import committing
from tests.sample import framework_tasks as tasks

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def memory_queue(settings: Any) -> None:
    settings.Q_CLUSTER = {"name": "tests", "broker": "memory"}
    settings.TASKS = {"default": {"BACKEND": "django_cluster.backend.ClusterBackend"}}
    memory.reset()


def refuse(*_: object) -> None:
    raise BrokerUnavailable


def sweep() -> int:
    client = get_client()
    return UnsentTasks(client.results.tracked, Publisher(client.broker), queue="tests", older_than=60).send()


def grow_older() -> None:
    TrackedTask.objects.update(enqueued_at=timezone.now() - timedelta(minutes=2))


def test_a_message_that_was_not_sent_after_the_commit_is_sent_by_a_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(MemoryBroker, "enqueue", refuse)
        with committing(), transaction.atomic():
            result = tasks.add.enqueue(1, 2)
    assert sweep() == 0  # it may be on its way
    grow_older()

    assert sweep() == 1
    assert sweep() == 0
    drain()
    result.refresh()
    assert result.return_value == 3


def test_what_was_sent_is_not_sent_again() -> None:
    with committing():
        tasks.add.enqueue(1, 2)
    grow_older()

    assert sweep() == 0


def test_a_second_message_of_a_task_is_not_run() -> None:
    with committing():
        result = tasks.add.enqueue(1, 2)
    broker = get_client().broker
    (waiting,) = broker.peek()
    drain()
    broker.enqueue([Message(waiting.payload)])
    drain()

    result.refresh()
    assert (result.attempts, broker.size().total) == (1, 0)
