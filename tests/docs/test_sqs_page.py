"""The examples of docs/how-to/sqs.md do what the page says."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from django_cluster import async_task, fetch
from django_cluster.client.client import get_client
from django_cluster.errors import PayloadTooLarge
from django_cluster.models import LargePayload
from django_cluster.testing.drain import drain
from tests.docs.test_queues_page import examples
from tests.servers import SqsServer


def count_lines(text: bytes) -> int:
    return text.count(b"\n")


@pytest.fixture
def shop(settings: Any, sqs_server: SqsServer, transactional_db: None) -> dict[str, Any]:
    """The settings of the page, with our server in the place of Amazon's."""
    (found,) = [each for each in examples("sqs.md") if "offload_large_payloads" in each]
    settings.Q_CLUSTER = {**found, "name": f"shop-{uuid4().hex[:8]}", "sqs": {**found["sqs"], **sqs_server.options}}
    return dict(settings.Q_CLUSTER)


def test_a_task_may_carry_more_than_sqs_takes(shop: dict[str, Any]) -> None:
    # large begins
    log = b"GET /orders\n" * 500_000  # six megabytes
    task_id = async_task(count_lines, log)
    # large ends
    assert LargePayload.objects.count() == 1

    drain()

    task = fetch(task_id)
    assert task is not None
    assert task.result == 500_000
    assert LargePayload.objects.count() == 0
    assert get_client().broker.size().total == 0


def test_without_the_setting_it_is_refused(shop: dict[str, Any], settings: Any) -> None:
    settings.Q_CLUSTER = {**shop, "offload_large_payloads": False}

    with pytest.raises(PayloadTooLarge):
        async_task(count_lines, b"x" * 6_000_000)
