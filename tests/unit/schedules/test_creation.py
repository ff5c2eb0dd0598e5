"""``schedule()`` and the decorators check the call of each run as ``async_task`` checks its own."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import transaction

from django_cluster.decorators import cron_task, periodic_task
from django_cluster.models import Schedule
from django_cluster.schedules.creation import build_schedule
from tests.sample import tasks

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("func", [tasks.add, "tests.sample.tasks.add"], ids=["function", "path"])
@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        ((), {}, "missing required arguments: 'a', 'b'"),
        ((1, 2, 3), {}, "too many positional arguments"),
        ((1,), {"b": 2, "colour": "red"}, "unexpected keyword argument 'colour'"),
        ((1, 2), {"intended_date_kwarg": "when"}, "unexpected keyword argument 'when'"),
    ],
)
def test_arguments_that_the_function_does_not_take_are_refused(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], words: str
) -> None:
    with pytest.raises(TypeError, match=words):
        build_schedule(func, *args, **kwargs)
    assert not Schedule.objects.exists()


def test_a_misplaced_option_is_named() -> None:
    with pytest.raises(TypeError, match="did you mean the option 'max_attempts', which belongs in q_options"):
        build_schedule(tasks.nothing, max_attempts=3)


def test_the_date_of_the_run_is_an_argument() -> None:
    assert build_schedule(tasks.add, 1, intended_date_kwarg="b").pk


@pytest.mark.parametrize(
    "declare",
    [
        lambda: cron_task("0 5 * * *"),
        lambda: cron_task("0 5 * * *", args=(1, 2, 3)),
        lambda: periodic_task(schedule_type="D", kwargs={"a": 1, "b": 2, "c": 3}),
        lambda: periodic_task(schedule_type="D", args=(1, 2), intended_date_kwarg="when"),
    ],
)
def test_a_declaration_whose_function_cannot_be_called_so_is_refused(declare: Any) -> None:
    with pytest.raises(TypeError, match=r"tasks\.add cannot be called so"):
        declare()(tasks.add)


# ── whole numbers ────────────────────────────────────────────────────────────────────────────────

FRACTIONS = [1.5, 0.5, Decimal("1.5"), float("nan"), float("inf"), Decimal("nan"), True, "1.5", timedelta(minutes=5)]


@pytest.mark.parametrize("minutes", FRACTIONS, ids=repr)
def test_a_fraction_of_a_minute_is_refused(minutes: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        build_schedule(tasks.nothing, schedule_type="I", minutes=minutes)
    assert list(caught.value.message_dict) == ["minutes"]


@pytest.mark.parametrize("minutes", FRACTIONS, ids=repr)
def test_a_fraction_of_a_minute_cannot_be_declared(minutes: Any) -> None:
    with pytest.raises(ValueError, match="The schedule of tests"):
        periodic_task(schedule_type="I", minutes=minutes)(tasks.nothing)


@pytest.mark.parametrize("repeats", [1.5, Decimal("2.5"), float("nan")], ids=repr)
def test_a_fraction_of_a_repeat_is_refused(repeats: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        build_schedule(tasks.nothing, repeats=repeats)
    assert list(caught.value.message_dict) == ["repeats"]


@pytest.mark.parametrize("columns", [{"minutes": 1.5}, {"repeats": 2.5}, {"minutes": True}], ids=repr)
def test_a_fraction_is_written_by_no_way_to_write_rows(columns: dict[str, Any]) -> None:
    row = build_schedule(tasks.nothing, schedule_type="I", minutes=5)

    def assign() -> Schedule:
        for name, value in columns.items():
            setattr(row, name, value)
        return row

    for write in (
        lambda: Schedule.objects.create(func="tests.sample.tasks.nothing", schedule_type="I", **columns),
        lambda: Schedule.objects.filter(pk=row.pk).update(**columns),
        lambda: assign().save(),
        lambda: Schedule.objects.bulk_update([assign()], list(columns)),
    ):
        with pytest.raises(ValueError, match="is a whole number"), transaction.atomic():
            write()

    assert (Schedule.objects.get().minutes, Schedule.objects.get().repeats) == (5, -1)


@pytest.mark.parametrize("minutes", [2, 2.0, Decimal(2), "2"], ids=repr)
def test_a_whole_number_may_be_written_in_any_way(minutes: Any) -> None:
    row = build_schedule(tasks.nothing, schedule_type="I", minutes=minutes)

    kept = Schedule.objects.get(pk=row.pk)
    assert kept.minutes == 2
    assert kept.planned_from.startswith("I|2|")
