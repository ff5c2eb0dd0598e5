"""Running tasks again: nothing that waits is lost by the attempt, and one row that cannot be sent stops no other."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import override_settings

from django_cluster import async_task
from django_cluster.brokers import memory
from django_cluster.client.client import Client, get_client
from django_cluster.client.retries import retry, retry_many
from django_cluster.core.messages import Job
from django_cluster.errors import BrokerUnavailable, PayloadTooLarge
from django_cluster.lifecycle.send import QueueSender
from django_cluster.models import QueuedTask, Task
from django_cluster.testing.drain import drain
from django_cluster.testing.outcomes import make_failure
from tests.integration.admin_client import save
from tests.integration.test_admin_actions import park, signed
from tests.sample.tasks import fail

pytestmark = pytest.mark.django_db

ORM = {"name": "tests", "broker": "orm", "orm": "default", "on_commit": False, "max_attempts": 1}


@pytest.fixture(autouse=True)
def queue_in_the_database(settings: Any) -> None:
    settings.Q_CLUSTER = ORM


@pytest.mark.parametrize(
    "options",
    [{"member": 7}, {"retry_on": 5}, {"priority": "high"}, {"priority": 10**30}, {"timeout": "x"}, {"broker": "nope"}],
)
def test_options_that_cannot_be_read_stop_no_other_task(options: dict[str, Any]) -> None:
    save(*(failures := [make_failure() for _ in range(3)]))
    Task.objects.filter(pk=failures[1].id).update(options=options)

    report = retry_many([failure.id for failure in failures])

    assert (report.sent, len(report.errors)) == (2, 1)
    assert QueuedTask.objects.count() == 2


def test_a_package_that_is_too_large_stops_no_other_task(monkeypatch: pytest.MonkeyPatch) -> None:
    check = QueueSender.check

    def with_a_limit(sender: QueueSender, messages: Any) -> None:
        if any(len(message.payload) > 3000 for message in messages):
            raise PayloadTooLarge("too large")
        check(sender, messages)

    monkeypatch.setattr(QueueSender, "check", with_a_limit)
    save(*(failures := [make_failure(), make_failure(pair=(("x" * 5000,), {})), make_failure()]))

    report = retry_many([failure.id for failure in failures])

    assert report.sent == 2
    assert report.errors == [f"{failures[1].name}: too large"]


def test_the_waiting_retry_of_a_task_that_cannot_be_read_stays() -> None:
    save(failure := make_failure(final=False, arguments=b"Pgarbage"))
    park(failure)

    report = retry_many([failure.id])

    assert len(report.errors) == 1
    assert QueuedTask.objects.count() == 1
    assert not Task.objects.get().final


def test_the_waiting_retry_of_a_task_that_cannot_be_sent_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    save(failure := make_failure(final=False))
    park(failure)

    def refuse(sender: QueueSender, messages: Any) -> None:
        raise BrokerUnavailable("away")

    monkeypatch.setattr(QueueSender, "put", refuse)
    report = retry_many([failure.id])

    assert report.errors == [f"{failure.name}: away"]
    assert QueuedTask.objects.count() == 1
    assert not Task.objects.get().final


def test_what_was_put_aside_is_given_back_once() -> None:
    save(dead := make_failure(status="dead", payload=signed("a" * 32), id="a" * 32, func="tests.sample.tasks.nothing"))

    reports = [retry_many([dead.id]), retry_many([dead.id])]

    assert [(report.sent, report.retried_before) for report in reports] == [(1, 0), (0, 1)]
    assert QueuedTask.objects.count() == 1


def test_a_task_that_is_named_twice_is_sent_once() -> None:
    save(failure := make_failure())

    assert retry_many([failure.id, failure.id]).sent == 1
    assert QueuedTask.objects.count() == 1


def test_a_task_is_run_again_through_the_broker_that_it_named() -> None:
    memory.reset()
    with override_settings(Q_CLUSTER={**ORM, "brokers": {"other": {"broker": "memory"}}}):
        async_task(fail, broker="other")
        client = get_client()
        run_one(client)

        retry(Task.objects.get())

        assert client.broker_named("other").size().ready == 1
        assert not QueuedTask.objects.exists()


def run_one(client: Client) -> None:
    broker = client.broker_named("other")
    (delivery,) = broker.lease(1)
    body = client.codec.verify(delivery.payload)
    job = Job(0, body, delivery.receipt, delivery.attempt, client.settings.queue)
    client.record(client.execute(job)[0], broker)


def test_in_sync_mode_a_run_that_fails_is_known_to_the_old_row() -> None:
    with override_settings(Q_CLUSTER={**ORM, "sync": True}):
        save(failure := make_failure(func="tests.sample.tasks.fail"))

        report = retry_many([failure.id])

    assert "no luck" in report.errors[0]
    assert Task.objects.get(pk=failure.id).retried_as == Task.objects.exclude(pk=failure.id).get().pk
    assert not drain()
