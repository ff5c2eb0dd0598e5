"""The status of tracked tasks, of our own and by the setting, as their handles say it."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from django_cluster import async_task
from django_cluster.models import TrackedTask
from django_cluster.testing.drain import drain
from tests.sample.task_objects import add

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def queue(settings: Any) -> None:
    settings.Q_CLUSTER = {"name": "tests", "orm": "default"}


def test_a_task_with_the_option_has_a_row_from_the_moment_of_sending() -> None:
    handle = add.using(track=True).delay(1, 2)

    assert (handle.status, TrackedTask.objects.get().pk) == ("queued", handle)
    TrackedTask.objects.update(status="running")
    assert pickle.loads(pickle.dumps(handle)).status == "running"
    TrackedTask.objects.update(status="queued")
    drain()
    assert (handle.status, handle.result()) == ("success", 3)
    row = TrackedTask.objects.get()
    assert (row.status, row.attempt, row.backend) == ("success", 1, None)


def test_a_task_that_waits_for_its_time_is_scheduled() -> None:
    assert add.using(track=True, delay=60).delay(1).status == "scheduled"


def test_by_the_setting_every_task_is_tracked_unless_it_says_otherwise(settings: Any) -> None:
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "track_tasks": True}
    tracked = async_task("tests.sample.task_objects.add", 1)
    async_task("tests.sample.task_objects.add", 1, q_options={"track": False})

    assert [row.pk for row in TrackedTask.objects.all()] == [tracked]
    handle = add.delay("1", 2)  # type: ignore[arg-type]  # it fails
    drain(raise_errors=False)
    assert handle.status == "retrying"


def test_a_task_that_is_not_tracked_has_no_row() -> None:
    add.delay(1)

    assert not TrackedTask.objects.exists()
