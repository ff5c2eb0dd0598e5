"""``qtasks`` lists what the project has registered."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from django_cluster.models import Schedule
from tests.datetimes import utc
from tests.sample import task_objects

pytestmark = pytest.mark.django_db

ORDER = task_objects.order.__module__ + ".order"


def qtasks(*args: str) -> str:
    out = StringIO()
    call_command("qtasks", *args, stdout=out)
    return out.getvalue()


def entry(path: str, *args: str) -> dict[str, Any]:
    (found,) = [task for task in json.loads(qtasks("--json", *args)) if task["task"] == path]
    return dict(found)


def test_a_task_is_listed_with_its_options() -> None:
    assert f"{ORDER}  queue=slow  max_attempts=3  retry_delay=5  retry_backoff=fixed" in qtasks()


def test_its_schedules_stand_below_it() -> None:
    moments = {"next_run": utc(2030, 1, 1, 5)}
    Schedule.objects.create(func=ORDER, name="nightly", schedule_type=Schedule.DAILY, **moments)
    Schedule.objects.create(func=ORDER, name="off", schedule_type=Schedule.DAILY, enabled=False, **moments)

    listed = qtasks().partition(f"{ORDER} ")[2].splitlines()[1:3]

    assert [line.strip().partition(":")[0] for line in listed] == ["nightly", "off"]
    assert "next 2030-01-01" in listed[0]
    assert listed[1].endswith("disabled")


def test_json_holds_plain_values() -> None:
    Schedule.objects.create(func=ORDER, name="once", schedule_type=Schedule.ONCE, next_run=utc(2030, 1, 1))

    found = entry(ORDER)

    assert found["options"] == dict(task_objects.order.options)
    assert found["takes_context"] is False
    assert [(each["name"], each["next_run"], each["enabled"]) for each in found["schedules"]] == [
        ("once", utc(2030, 1, 1).isoformat(), True)
    ]
    assert entry(task_objects.__name__ + ".note_context")["takes_context"] is True


def test_tasks_of_one_queue() -> None:
    assert {task["options"].get("queue") for task in json.loads(qtasks("--json", "--queue", "slow"))} == {"slow"}


def test_a_project_without_tasks_is_told_how_to_have_some() -> None:
    assert "mark functions with @task" in qtasks("--queue", "nothing goes here")
