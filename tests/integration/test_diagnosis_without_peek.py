"""``qinfo --why`` on brokers that show no message without delivering it: what can be known is said, and what cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import override_settings
from django.utils import timezone

from django_cluster import async_task, control
from django_cluster.client.client import get_client
from django_cluster.models import TrackedTask
from django_cluster.stores.status import ProcessStatus
from tests.integration.test_diagnosis import Asked, publish

pytestmark = pytest.mark.django_db(transaction=True)

IDLE = ProcessStatus(role="worker", pid=12, state="idle")
KINDS = {"sqs": "sqs_server", "rabbitmq": "rabbitmq_server", "iron_mq": "ironmq_server"}


@pytest.fixture(params=KINDS)
def queue(request: pytest.FixtureRequest) -> Iterator[str]:
    """A queue of this test on one of these brokers; it is the default queue of the project."""
    server = request.getfixturevalue(KINDS[request.param])
    name = f"shop-{uuid4().hex[:8]}"
    options = server.options if hasattr(server, "options") else server.url
    with override_settings(Q_CLUSTER={"name": name, request.param: options, "retry": 60}):
        yield name
        get_client().broker.purge()


@pytest.fixture
def why(capsys: pytest.CaptureFixture[str]) -> Callable[[str], Asked]:
    return lambda target: Asked(capsys, target)


def text(asked: Asked) -> str:
    return " ".join(reason["sentence"] for reason in asked.document["reasons"])


def test_a_waiting_task_may_be_in_the_queue_that_cannot_be_searched(queue: str, why: Any) -> None:
    task_id = async_task("math.sqrt", 4)
    asked = why(task_id)

    assert (asked.codes, asked.exit_code) == (["not_found", "no_cluster"], 5)
    first = asked.document["reasons"][0]
    assert f"it waits in '{queue}', which has 1 message ready" in first["sentence"]
    assert "no message in" not in first["sentence"]  # which was not looked for
    assert "track" in first["advice"]
    assert [text for text in asked.document["unseen"] if "does not show its messages" in text]


def test_of_a_tracked_task_it_is_known_where_it_waits_and_for_what(queue: str, why: Any) -> None:
    task_id = async_task("math.sqrt", 4, q_options={"track": True})

    asked = why(task_id)
    assert (asked.codes, asked.exit_code) == (["no_cluster", "sent"], 4)
    assert f"sent to queue '{queue}'" in text(asked)

    publish(IDLE, queues=(queue,))
    assert (why(task_id).codes, why(task_id).exit_code) == (["sent"], 3)

    control.pause(queue, by="ann")
    assert (why(task_id).codes, why(task_id).exit_code) == (["paused", "sent"], 4)


def test_a_tracked_task_that_is_delayed_says_until_when(queue: str, why: Any) -> None:
    task_id = async_task("math.sqrt", 4, q_options={"track": True, "delay": 600})
    publish(IDLE, queues=(queue,))

    assert (why(task_id).codes, why(task_id).exit_code) == (["delayed"], 3)


def test_a_queue_is_judged_by_its_sizes(queue: str, why: Any) -> None:
    assert (why(queue).codes, why(queue).exit_code) == (["no_cluster"], 4)

    publish(IDLE, queues=(queue,))
    assert (why(queue).codes[0], why(queue).exit_code) == ("empty", 0)

    async_task("math.sqrt", 4)
    assert (why(queue).codes[0], why(queue).exit_code) == ("flows", 0)


@pytest.fixture
def row() -> Callable[..., str]:
    """The row of a tracked task on the default broker of the tests, whose messages can all be searched."""

    def make(**fields: Any) -> str:
        fields = {"status": "queued", "enqueued_at": timezone.now() - timedelta(minutes=5), **fields}
        return TrackedTask.objects.create(id=uuid4().hex, name="n", func="math.sqrt", queue="shop", **fields).pk

    return make


@pytest.mark.parametrize(
    ("fields", "code", "exit_code"),
    [
        ({"status": "success", "attempt": 1}, "succeeded", 0),
        ({"status": "failed", "attempt": 2, "errors": [["ValueError", "…"]]}, "failed", 4),
        ({"status": "dead"}, "dead", 4),
        ({"status": "cancelled"}, "cancelled", 0),
        ({"status": "expired"}, "expired", 4),
        ({"status": "running", "attempt": 1, "worker_ids": ["w 1"]}, "running", 0),
        ({"status": "queued", "payload": "dc1…"}, "unsent", 3),
        ({"status": "queued"}, "message_gone", 4),
    ],
)
def test_the_row_of_a_tracked_task_is_asked_when_nothing_else_is_left(
    row: Callable[..., str], why: Any, fields: dict[str, Any], code: str, exit_code: int
) -> None:
    with override_settings(Q_CLUSTER={"name": "shop", "orm": "default"}):
        publish(IDLE, queues=("shop",))
        asked = why(row(**fields))

    assert (asked.codes, asked.exit_code) == ([code], exit_code)


def test_a_run_that_no_cluster_reports_was_lost(row: Callable[..., str], why: Any) -> None:
    began = timezone.now() - timedelta(minutes=3)
    with override_settings(Q_CLUSTER={"name": "shop", "orm": "default"}):
        asked = why(row(status="running", attempt=1, worker_ids=["host:12"], last_attempted_at=began))

    assert (asked.codes, asked.exit_code) == (["lost_worker"], 3)
    assert "host:12" in text(asked)
