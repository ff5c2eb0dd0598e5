"""Tables: every field, constant and method of Django-Q's models."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_cluster import models as ours
from django_cluster.models import Failure, Schedule, Success, Task
from django_cluster.tasks import async_task
from django_cluster.testing.drain import drain
from tests.sample.tasks import add, fail

pytestmark = pytest.mark.django_db

READ: dict[str, tuple[str, ...]] = {
    "Task": (
        *(
            "id",
            "name",
            "func",
            "hook",
            "args",
            "kwargs",
            "result",
            "group",
            "queue",
            "started",
            "stopped",
            "success",
        ),
        "attempt_count",
    ),
    "Schedule": (
        *("id", "name", "func", "hook", "args", "kwargs", "schedule_type", "minutes", "repeats", "next_run", "cron"),
        *("task", "queue", "intended_date_kwarg"),
    ),
    "QueuedTask": ("id", "key", "payload", "lock", "task"),
}
"""What can be read from an object; ``QueuedTask`` is Django-Q's ``OrmQ``."""

CALLED = {
    "Task": (
        *("get_result", "get_result_group", "get_group_count", "delete_group", "get_task", "get_task_group"),
        *("group_result", "group_count", "group_delete", "time_taken"),
    ),
    "Schedule": ("calculate_next_run", "success"),
    "QueuedTask": ("func", "task_id", "name", "group", "q_options"),
}


def sample(model: str) -> Any:
    """An object of each, as a cluster makes it."""
    task_id = async_task(add, 1, 2, group="g", timeout=9)
    if model == "QueuedTask":
        return ours.QueuedTask.objects.get()
    drain()
    if model == "Schedule":
        return Schedule.objects.create(func="tests.sample.tasks.add", args="1, 2", task=task_id)
    return Task.objects.get(pk=task_id)


@pytest.mark.parametrize(("model", "name"), [(model, name) for model, names in READ.items() for name in names])
def test_a_field_can_be_read(model: str, name: str) -> None:
    getattr(sample(model), name)


@pytest.mark.parametrize(("model", "name"), [(model, name) for model, names in CALLED.items() for name in names])
def test_a_method_is_there(model: str, name: str) -> None:
    assert callable(getattr(sample(model), name))


def test_a_task_answers_djangos_q_questions() -> None:
    task = sample("Task")

    assert (Task.get_result(task.id), Task.get_result(task.name)) == (3, 3)
    assert Task.get_task(task.id) == task
    assert list(Task.get_task_group("g")) == [task]
    assert list(Task.get_result_group("g")) == [3]
    assert (Task.get_group_count("g"), Task.get_group_count("g", failures=True)) == (1, 0)
    assert (list(task.group_result()), task.group_count()) == ([3], 1)
    assert task.time_taken() == (task.stopped - task.started).total_seconds()
    assert task.group_delete(tasks=True)
    assert not Task.objects.exists()


def test_successes_and_failures_have_managers_of_their_own() -> None:
    async_task(add, 1, 2)
    async_task(fail)
    drain(raise_errors=False)

    assert (Success.objects.count(), Failure.objects.count()) == (1, 1)
    assert Failure.objects.get().result.startswith("no luck : Traceback")


def test_a_message_says_what_it_carries_without_being_opened() -> None:
    message = sample("QueuedTask")

    assert (message.func(), message.group(), message.q_options()) == ("tests.sample.tasks.add", "g", {"timeout": 9.0})
    assert (message.key, len(message.task_id())) == ("tests", 32)
    assert message.lock <= timezone.now()
    message.payload = "garbage"
    assert message.task_id() == "*UnknownFormat"


TYPES = {
    "ONCE": "O",
    "MINUTES": "I",
    "HOURLY": "H",
    "DAILY": "D",
    "WEEKLY": "W",
    "BIWEEKLY": "BW",
    "MONTHLY": "M",
    "BIMONTHLY": "BM",
    "QUARTERLY": "Q",
    "YEARLY": "Y",
    "CRON": "C",
}


@pytest.mark.parametrize(("name", "code"), TYPES.items())
def test_a_type_of_schedules_has_its_code(name: str, code: str) -> None:
    assert getattr(Schedule, name) == code
    assert code in dict(Schedule.TYPE)


NOON = datetime(2026, 5, 10, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("code", "more", "following"),
    [
        ("I", {"minutes": 7}, NOON + timedelta(minutes=7)),
        ("H", {}, NOON + timedelta(hours=1)),
        ("D", {}, NOON + timedelta(days=1)),
        ("W", {}, NOON + timedelta(weeks=1)),
        ("BW", {}, NOON + timedelta(weeks=2)),
        ("M", {}, NOON.replace(month=6)),
        ("BM", {}, NOON.replace(month=7)),
        ("Q", {}, NOON.replace(month=8)),
        ("Y", {}, NOON.replace(year=2027)),
        ("C", {"cron": "15 16 * * *"}, NOON.replace(hour=14, minute=15)),  # Amsterdam
    ],
)
def test_a_type_of_schedules_names_the_next_run(code: str, more: dict[str, Any], following: datetime) -> None:
    schedule = Schedule(func="a.b", schedule_type=code, next_run=NOON, **more)

    assert schedule.calculate_next_run() == following
    assert schedule.calculate_next_run(NOON) == following


def test_a_schedule_knows_how_its_last_task_ended() -> None:
    schedule = sample("Schedule")

    assert schedule.success() is True
    schedule.task = None
    assert schedule.success() is None
    assert str(schedule) == "tests.sample.tasks.add"
