"""Rows as projects on Django-Q query, create and change them: by Django-Q's names of columns."""

from __future__ import annotations

from ast import literal_eval
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import FieldError
from django.db.models import Avg, Count, DurationField, ExpressionWrapper, F, Max, Min, Q
from django.db.models.functions import TruncDate
from django.utils import timezone

from django_cluster import control, models
from django_cluster.tasks import async_task, result, schedule
from django_cluster.testing.drain import drain
from tests.sample.tasks import add, echo, fail

pytestmark = pytest.mark.django_db

Task: Any = models.Task
Success: Any = models.Success
Failure: Any = models.Failure
Schedule: Any = models.Schedule
QueuedTask: Any = models.QueuedTask
"""Without types: those of Django know no second names of columns."""

ZONE = "Z" if timezone.is_aware(timezone.now()) else ""
"""The end of a moment as text."""


def local_date(moment: datetime) -> date:
    return timezone.localdate(moment) if timezone.is_aware(moment) else moment.date()


MINUTE = timedelta(minutes=1)


@pytest.fixture
def rows() -> tuple[Any, Any]:
    """(a success, a failure); the failure is newer."""
    ids = [async_task(add, 2, 3, group="g"), async_task(fail, group="g")]
    drain(raise_errors=False)
    success, failure = (Task.objects.get(pk=each) for each in ids)
    Task.objects.filter(pk=failure.pk).update(stopped=success.stopped + MINUTE)
    failure.refresh_from_db()
    return success, failure


# ── tasks: conditions, orders and expressions ────────────────────────────────────────────────────


def test_tasks_are_found_by_when_they_started_and_stopped(rows: tuple[Any, Any]) -> None:
    success, failure = rows

    assert Task.objects.get(stopped=failure.stopped) == failure
    assert Task.objects.filter(started__gte=timezone.now() - MINUTE).count() == 2
    assert Task.objects.get(stopped__gt=F("started") + MINUTE) == failure
    assert list(Success.objects.filter(stopped__lte=success.stopped)) == [success]
    assert list(Failure.objects.exclude(stopped__isnull=True)) == [failure]
    assert Task.objects.filter(Q(started__date=local_date(success.started)), stopped__year__gte=2000).exists()


def test_tasks_are_ordered_by_when_they_stopped(rows: tuple[Any, Any]) -> None:
    success, failure = rows

    assert list(Task.objects.order_by("-stopped")) == [failure, success]
    assert list(Task.objects.order_by("started", "stopped").reverse()) == [failure, success]
    assert Task.objects.latest("stopped") == failure
    assert Task.objects.earliest("stopped") == success


def test_tasks_are_counted_by_day_and_averaged(rows: tuple[Any, Any]) -> None:
    success, failure = rows
    taken = ExpressionWrapper(F("stopped") - F("started"), output_field=DurationField())

    by_day = Task.objects.annotate(day=TruncDate("started")).values("day").annotate(count=Count("id")).order_by()
    assert [each["count"] for each in by_day] == [2]
    found = Task.objects.aggregate(Min("stopped"), Max("stopped"), taken=Avg(taken))
    assert (found["stopped__min"], found["stopped__max"]) == (success.stopped, failure.stopped)
    assert found["taken"] > MINUTE / 2
    assert Task.objects.datetimes("stopped", "year").count() == 1


def test_values_of_tasks_have_djangos_q_names(rows: tuple[Any, Any]) -> None:
    success, _failure = rows

    assert Task.objects.filter(success=True).values("id", "started").get() == {
        "id": success.id,
        "started": success.started,
    }
    assert set(Task.objects.values_list("stopped", flat=True)) == {row.stopped for row in rows}
    assert Task.objects.only("stopped").get(pk=success.pk).stopped == success.stopped
    assert Task.objects.defer("result", "args").get(pk=success.pk).result == 5


def test_results_and_arguments_are_values_too(rows: tuple[Any, Any]) -> None:
    succeeded = Task.objects.filter(success=True)

    assert succeeded.values_list("result", flat=True)[0] == 5
    assert list(succeeded.values_list("func", "args", "kwargs")) == [("tests.sample.tasks.add", (2, 3), {})]
    assert succeeded.values("name", "result").get()["result"] == 5
    assert succeeded.values_list("result", named=True).get().result == 5
    assert Failure.objects.values_list("result", flat=True).get().startswith("no luck : Traceback")
    with pytest.raises(TypeError, match="flat"):
        succeeded.values_list("id", "result", flat=True)


def test_a_condition_on_what_is_sealed_holds_and_says_that_it_is_slow(rows: tuple[Any, Any]) -> None:
    success, failure = rows

    with pytest.warns(RuntimeWarning, match=r"Task\.result opens every row"):
        assert Task.objects.get(result=5) == success
    with pytest.warns(RuntimeWarning, match=r"Task\.args"):
        assert list(Task.objects.filter(Q(args=(2, 3)) | Q(args__in=[[9]]), group="g")) == [success]
    with pytest.warns(RuntimeWarning):
        assert list(Task.objects.exclude(kwargs={}, result=5)) == [failure]
    assert list(Task.objects.filter(result__isnull=True)) == [failure]
    with pytest.raises(FieldError, match="sealed"):
        Task.objects.filter(result__gt=4)


# ── tasks: created and changed ───────────────────────────────────────────────────────────────────


def finished(**more: Any) -> dict[str, Any]:
    now = timezone.now()
    return {"name": "n", "func": "math.sqrt", "started": now - MINUTE, "stopped": now, "success": True, **more}


def test_a_task_is_created_by_what_djangos_q_columns_say() -> None:
    task = Task.objects.create(id="a" * 32, args=(4,), kwargs={"x": [1]}, result={"y": 2}, cluster="c", **finished())
    assert (task.args, task.result) == ((4,), {"y": 2})

    task = Task.objects.get(pk=task.pk)

    assert (task.args, task.kwargs, task.result, task.queue) == ((4,), {"x": [1]}, {"y": 2}, "c")
    assert (task.status, task.started_at, task.time_taken()) == ("success", task.started, 60.0)
    assert task.call() == ((4,), {"x": [1]})
    assert result(task.id) == {"y": 2}


def test_a_failed_task_is_created_with_the_text_of_its_error() -> None:
    text = "no luck : Traceback (most recent call last):\n  File x\nValueError: no luck"
    Task.objects.create(id="a" * 32, result=text, **finished(success=False))

    task = Failure.objects.get()

    assert (task.result, task.error_message, task.status) == (text, "no luck", "failure")
    assert (task.args, task.kwargs) == ((), {})


def test_many_tasks_are_created_at_once_and_text_is_coerced() -> None:
    rows = [Task(**finished(id=f"{number:032}", started="2026-01-02 03:04", result=number)) for number in range(3)]
    with pytest.warns(RuntimeWarning) if timezone.is_aware(timezone.now()) else _nothing():
        Task.objects.bulk_create(rows)

    assert list(Task.objects.order_by("id").values_list("result", flat=True)) == [0, 1, 2]
    assert {
        timezone.localtime(row.started).hour if timezone.is_aware(row.started) else row.started.hour
        for row in Task.objects.all()
    } == {3}


def test_a_task_is_got_or_created_and_updated() -> None:
    task, created = Task.objects.get_or_create(id="a" * 32, defaults=finished())
    assert created
    assert Task.objects.get_or_create(id="a" * 32, defaults=finished()) == (task, False)
    later = task.stopped + MINUTE
    Task.objects.update_or_create(id="a" * 32, defaults={"stopped": later, "result": 7})
    task.refresh_from_db()
    assert (task.stopped, task.result) == (later, 7)

    Task.objects.update(started=F("stopped") - 2 * MINUTE)
    task.refresh_from_db()
    assert task.time_taken() == 120
    task.stopped, task.result = later + MINUTE, 8
    task.save(update_fields=["stopped", "result"])
    task = Task.objects.get()
    assert (task.stopped, task.result) == (later + MINUTE, 8)
    with pytest.raises(FieldError, match="cannot be updated for many rows"):
        Task.objects.update(result=1)


# ── queued tasks ─────────────────────────────────────────────────────────────────────────────────


def test_queued_tasks_are_found_by_key_and_lock() -> None:
    async_task(add, 1, 1)
    async_task(add, 2, 2, q_options={"cluster": "mail"})
    now = timezone.now()

    assert QueuedTask.objects.filter(key="mail").count() == 1
    assert set(QueuedTask.objects.values_list("key", flat=True)) == {"mail", "tests"}
    assert QueuedTask.objects.filter(key__in=["tests", "mail"], lock__lte=now + MINUTE).count() == 2
    assert QueuedTask.objects.filter(lock__gt=now + MINUTE).count() == 0
    assert [row.key for row in QueuedTask.objects.order_by("key", "lock")] == ["tests", "mail"]
    waiting = QueuedTask.objects.filter(key="mail").get()
    assert abs(waiting.lock - now) < MINUTE
    assert QueuedTask.objects.aggregate(last=Max("lock"))["last"] >= waiting.lock
    with pytest.raises(FieldError, match="startswith"):
        QueuedTask.objects.filter(key__startswith="m")


def test_a_queued_task_is_created_moved_and_released() -> None:
    async_task(add, 3, 4)
    payload = QueuedTask.objects.get().payload
    QueuedTask.objects.all().delete()

    row = QueuedTask.objects.create(key="tests", payload=payload, lock=timezone.now() + MINUTE)
    assert (row.queue, row.lane) == ("tests", QueuedTask.NOT_READY_LANE)
    drain()
    assert not Task.objects.exists()
    QueuedTask.objects.filter(key="tests").update(lock=timezone.now())
    drain()
    assert Task.objects.get().result == 7

    row = QueuedTask.objects.create(key="mail", payload=payload)
    assert (row.queue, row.lane) == ("tests:mail", 0)
    row.key, row.lock = "tests", timezone.now() + MINUTE
    row.save(update_fields=["key", "lock"])
    row = QueuedTask.objects.get()
    assert (row.queue, row.lane) == ("tests", QueuedTask.NOT_READY_LANE)
    row.lock = None
    assert row.lane == 0


# ── schedules ────────────────────────────────────────────────────────────────────────────────────


def test_a_schedule_is_created_from_text_as_django_coerces_it() -> None:
    row = Schedule.objects.create(
        func="math.sqrt", args=4, schedule_type="I", minutes="5", repeats="3", next_run="2040-01-01T10:00:00" + ZONE
    )
    row.refresh_from_db()

    assert (row.args, row.minutes, row.repeats, row.next_run.year) == ("4", 5, 3, 2040)
    assert Schedule.objects.filter(args=4, minutes="5", next_run__gte="2039-12-31T00:00" + ZONE).exists()
    Schedule.objects.update_or_create(func="math.sqrt", defaults={"next_run": "2041-01-01T10:00:00" + ZONE})
    Schedule.objects.bulk_create([Schedule(func="math.floor", next_run="2042-01-01T10:00:00" + ZONE, repeats="1")])
    assert list(Schedule.objects.values_list("next_run__year", flat=True)) == [2041, 2042]


def test_arguments_of_a_schedule_are_the_text_that_python_makes_of_them() -> None:
    row: Any = schedule("tests.sample.tasks.echo", 7, x=2, name="seven", q_options={"timeout": 30})
    row.refresh_from_db()

    assert (row.args, row.kwargs) == ("(7,)", "{'x': 2, 'q_options': {'timeout': 30}}")
    assert Schedule.objects.get(args=str((7,))) == row
    assert Schedule.objects.get(args=(7,)) == row
    assert literal_eval(str(schedule("math.sqrt", "text").args))[0] == "text"
    assert literal_eval(row.kwargs)["q_options"] == {"timeout": 30}
    none: Any = schedule("tests.sample.tasks.echo")
    assert (literal_eval(none.args), literal_eval(none.kwargs)) == ((), {})


@pytest.mark.parametrize("args", ["7", "7,", "(7,)", 7, (7,), [7]])
def test_arguments_of_a_schedule_are_read_as_people_write_them(args: Any) -> None:
    Schedule.objects.create(func="tests.sample.tasks.echo", args=args, kwargs={"y": 2}, next_run=timezone.now())
    control.run_now(Schedule.objects.get())
    drain()

    task = Task.objects.get()
    assert (task.args, task.kwargs) == (([7],) if args == [7] else (7,), {"y": 2})


def test_the_echo_of_a_value_is_found_by_group() -> None:
    async_task(echo, "x", group="echoes")
    drain()

    assert list(Task.get_task_group("echoes").values_list("args", flat=True)) == [("x",)]
    assert schedule("math.sqrt", 4, cluster="mail").cluster == "mail"


class _nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...
