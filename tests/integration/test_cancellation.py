"""What is withdrawn or purged never ends; a schedule that waits for its end is told."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone

from django_cluster import control
from django_cluster.brokers import memory
from django_cluster.brokers.base import Broker
from django_cluster.brokers.messages import Message
from django_cluster.client.client import get_client
from django_cluster.core.task_ids import new_task_id
from django_cluster.models import Schedule
from django_cluster.schedules.planning import is_busy, package_for_run
from tests.integration.admin_client import act, message
from tests.servers import RedisServer

pytestmark = pytest.mark.django_db


@pytest.fixture(params=["orm", "memory", "redis"])
def broker(request: pytest.FixtureRequest, settings: Any) -> Broker:
    """The broker of the site, empty."""
    cluster: dict[str, Any] = {"name": f"queue-{uuid4().hex}", "ALT_CLUSTERS": {"slow": {}}}
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        settings.Q_CLUSTER = {**cluster, "redis": server.url}
    elif request.param == "orm":
        settings.Q_CLUSTER = {**cluster, "orm": "default"}
    else:
        memory.reset()
        settings.Q_CLUSTER = {**cluster, "broker": "memory"}
    return get_client().broker


def sent(name: str = "nightly", **changes: Any) -> Schedule:
    """A schedule whose runs must not overlap, and whose last run has just been sent."""
    now = timezone.now()
    row = Schedule.objects.create(
        name=name, func="tests.sample.tasks.nothing", schedule_type="D", next_run=now, no_overlap=True, **changes
    )
    row.task, row.busy_since = new_task_id(), now
    row.save()
    get_client().submit([package_for_run(row, row.task, now, now)], on_commit=False)
    return row


def keys(broker: Broker) -> list[str]:
    return [each.key for each in broker.peek(10)]


def busy(*rows: Schedule) -> list[bool]:
    return [is_busy(Schedule.objects.get(pk=row.pk), timezone.now()) for row in rows]


def test_a_schedule_whose_run_was_cancelled_is_free(broker: Broker) -> None:
    first, second = sent("first"), sent("second")
    assert busy(first, second) == [True, True]

    assert control.cancel_messages(keys(broker)[:1]) == 1

    assert busy(first, second) == [False, True]


def test_a_schedule_whose_run_has_started_stays_busy(broker: Broker) -> None:
    first, second = sent("first"), sent("second")
    known = keys(broker)
    broker.lease(1)

    assert control.cancel_messages(known) == 1

    assert busy(first, second) == [True, False]


def test_a_run_that_was_cancelled_is_not_taken_for_the_present_one(broker: Broker) -> None:
    row = sent()
    Schedule.objects.filter(pk=row.pk).update(task=new_task_id())

    control.cancel_messages(keys(broker))

    assert busy(row) == [True]


def test_what_others_have_written_into_the_queue_frees_no_schedule(broker: Broker) -> None:
    row = sent()
    control.cancel_messages(keys(broker))
    Schedule.objects.filter(pk=row.pk).update(busy_since=timezone.now(), task="f" * 32)
    broker.enqueue([Message(message(schedule=row.pk)), Message("garbage")])

    assert control.cancel_messages(keys(broker)) == 2

    assert busy(row) == [True]


def test_a_purge_frees_the_schedules_whose_runs_have_not_started(broker: Broker) -> None:
    first, second = sent("first"), sent("second")
    broker.lease(1)

    assert control.purge() == 2

    assert busy(first, second) == [True, False]
    assert broker.size().total == 0


def test_the_page_of_the_queue_frees_them_too(broker: Broker, admin_client: Browser) -> None:
    row = sent()
    (key,) = keys(broker)

    if broker.database:
        act(admin_client, "queuedtask", "cancel", key, confirmed="yes")
    else:
        url = reverse("admin:django_cluster_queuedtask_changelist")
        admin_client.post(url, {"_selected_action": [key], "confirmed": "yes"}, follow=True)

    assert broker.size().total == 0
    assert busy(row) == [False]
