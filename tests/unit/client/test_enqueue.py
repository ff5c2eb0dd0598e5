"""A task that goes to a queue which nobody may know is said so, once."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from django_cluster import async_task
from django_cluster.brokers import memory
from django_cluster.client.enqueue import warn_of_unknown_queue

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def two_queues(settings: Any) -> None:
    settings.Q_CLUSTER = {"name": "tests", "broker": "memory", "ALT_CLUSTERS": {"slow": {}}}
    memory.reset()
    warn_of_unknown_queue.cache_clear()


def test_an_unknown_queue_is_said_once_and_the_nearest_is_named(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "django_cluster"):
        for _ in range(3):
            async_task("tests.sample.tasks.nothing", queue="solw")

    (record,) = [record for record in caplog.records if getattr(record, "event", "") == "unknown_queue"]
    assert "queue 'solw'" in record.getMessage()
    assert "Did you mean 'slow'?" in record.getMessage()


@pytest.mark.parametrize("queue", [None, "slow", "tests"])
def test_a_queue_of_the_settings_is_no_warning(queue: str | None, caplog: pytest.LogCaptureFixture) -> None:
    async_task("tests.sample.tasks.nothing", queue=queue)

    assert not [record for record in caplog.records if getattr(record, "event", "") == "unknown_queue"]
