"""A name that a schedule would give to its tasks is checked when the schedule is made, as that of ``async_task``."""

from __future__ import annotations

import json

import pytest

from django_cluster import async_task
from django_cluster.models import Schedule
from django_cluster.tasks import schedule
from tests.sample.tasks import add

HALF = json.loads('"\\ud83d"')


@pytest.mark.django_db
@pytest.mark.parametrize(("name", "error"), [(HALF, ValueError), ("a\0b", ValueError), (5, TypeError)])
def test_a_name_that_nobody_can_keep_is_refused(name: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="task name"):
        async_task(add, 1, 2, task_name=name)
    with pytest.raises(Exception, match="task name"):
        schedule("tests.sample.tasks.nothing", q_options={"task_name": name})
    assert not Schedule.objects.exists()
