"""Functions that are Celery's ``@shared_task`` are called unchanged."""

from __future__ import annotations

from typing import Any

import pytest

from django_cluster.models import Schedule
from django_cluster.tasks import async_chain, async_task, result, schedule
from django_cluster.testing.drain import drain

pytestmark = pytest.mark.django_db
pytest.importorskip("celery")


def test_a_shared_task_is_sent_by_its_path_and_by_itself() -> None:
    from tests.packages.celery_tasks import add, named

    ids = [async_task("tests.packages.celery_tasks.add", 1, 2), async_task(add, 3, y=4), async_task(named, 5)]
    drain()

    assert [result(each) for each in ids] == [3, 7, -5]


def test_a_shared_task_is_a_link_and_a_schedule() -> None:
    from tests.packages.celery_tasks import add

    group = async_chain([(add, (1, 1)), ("tests.packages.celery_tasks.add", (2, 2))])
    row = schedule("tests.packages.celery_tasks.add", 1, 2, schedule_type=Schedule.HOURLY)
    drain()

    assert row.func == "tests.packages.celery_tasks.add"
    assert group


def test_a_schedule_of_celery_beat_may_name_a_task_by_its_own_name() -> None:
    from django_cluster.import_sources.celery_beat import _path
    from tests.packages.celery_tasks import named

    task: Any = named
    assert task.name == "a name of its own"
    assert _path("a name of its own") == "tests.packages.celery_tasks.named"
