"""What the framework lets through: functions that a worker can import, and values that JSON has a word for."""

from __future__ import annotations

import datetime
import sys
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings
from django.utils.translation import gettext_lazy

from django_cluster.models import Schedule
from tests.contract.tasks_framework import FAILED, SUCCESSFUL, Framework, any_task, stored
from tests.sample import contract_tasks as tasks
from tests.tasks_framework import (
    InvalidTask,
    task,
)


def notes_of(error: BaseException) -> str:
    return "\n".join([str(error), *getattr(error, "__notes__", [])])


# ── validation ───────────────────────────────────────────────────────────────────────────────────


def test_a_function_inside_of_another_is_refused(here: Framework) -> None:
    def inner() -> None: ...

    for function in (inner, any, here.work):
        with pytest.raises(InvalidTask, match="module level"):
            task(function)


@pytest.mark.parametrize("name", ["by_hand", "nameless", "of_a_class"])
def test_what_no_worker_could_import_as_a_task_is_refused_when_it_is_sent(here: Framework, name: str) -> None:
    unsuitable = getattr(tasks, name)
    for _ in range(2):
        with pytest.raises(InvalidTask):
            unsuitable.enqueue()
        with pytest.raises(InvalidTask):
            async_to_sync(unsuitable.aenqueue)()

    assert here.queued() == 0


def test_a_task_of_a_program_is_refused_when_it_is_sent(here: Framework, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker has another ``__main__``."""
    monkeypatch.setattr(tasks.plain, "__module__", "__main__")
    declared = task(tasks.plain)
    monkeypatch.setattr(sys.modules["__main__"], "plain", declared, raising=False)

    with pytest.raises(InvalidTask):
        declared.enqueue()


def test_a_context_has_to_be_the_first_argument(here: Framework) -> None:
    with pytest.raises(InvalidTask, match="context"):
        any_task(takes_context=True)(tasks.add.func)


@pytest.mark.parametrize("priority", [-101, 101, 3.5])
def test_a_priority_is_a_whole_number_of_the_range(here: Framework, priority: float) -> None:
    with pytest.raises(InvalidTask, match="whole number between -100 and 100"):
        tasks.add.using(priority=priority)  # type: ignore[arg-type]


@pytest.mark.parametrize("priority", [True, 1.0])
def test_a_priority_is_stored_as_a_number(here: Framework, priority: Any) -> None:
    result = tasks.add.using(priority=priority).enqueue(1, 2)

    assert type(stored(result).task.priority) is int
    assert stored(result).task.priority == 1


@pytest.mark.skipif(not settings.USE_TZ, reason="this is about time zones, and TEST_USE_TZ=0")
def test_a_naive_moment_is_refused(here: Framework) -> None:
    with pytest.raises(InvalidTask, match="aware"):
        tasks.add.using(run_after=datetime.datetime(2030, 1, 1))  # noqa: DTZ001


def test_an_unknown_queue_is_refused_also_when_it_became_unknown(here: Framework) -> None:
    here.options(("default", "mail"))
    to_mail = tasks.add.using(queue_name="mail")
    with pytest.raises(InvalidTask, match="Queue 'post' is not valid"):
        tasks.add.using(queue_name="post")

    here.options(("default",))

    with pytest.raises(InvalidTask, match="Queue 'mail' is not valid"):
        to_mail.enqueue(1, 2)
    with pytest.raises(InvalidTask, match="Queue 'mail' is not valid"):
        async_to_sync(to_mail.aenqueue)(1, 2)
    assert here.queued() == 0


def test_without_queues_every_name_is_allowed(here: Framework) -> None:
    here.options(())

    result = tasks.add.using(queue_name="anything").enqueue(1, 2)

    assert stored(result).task.queue_name == "anything"
    assert here.run(result, "anything").return_value == 3


# ── values ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("given", "called"),
    [
        ((1, (2, 3)), [1, [2, 3]]),
        ({1: {2: "x"}}, {"1": {"2": "x"}}),
        ({"a": range(3)}, {"a": [0, 1, 2]}),
        (b"text", "text"),
        ("ä€𝄞", "ä€𝄞"),
        (2**80, 2**80),
        (0.1, 0.1),
        ([None, True, "", []], [None, True, "", []]),
    ],
)
def test_arguments_are_what_json_makes_of_them(here: Framework, given: Any, called: Any) -> None:
    result = tasks.note.enqueue(given, name=given)

    assert (result.args, result.kwargs) == ([called], {"name": called})
    assert stored(result) == result
    assert here.run(result).return_value == [[called], {"name": called}]
    assert tasks.calls == [((called,), {"name": called})]


@pytest.mark.parametrize(
    "value",
    [
        datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC), datetime.date(2030, 1, 1), Decimal(1), uuid4(), {1, 2},
        (number for number in (1, 2)), object(), gettext_lazy("task"), Schedule(name="x"), lambda: None,
        [{"deep": {1}}],
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_an_argument_that_json_has_no_word_for_is_refused(here: Framework, value: Any) -> None:
    with pytest.raises(TypeError, match="Unsupported type"):
        tasks.note.enqueue(value)
    with pytest.raises(TypeError, match="Unsupported type") as caught:
        tasks.note.enqueue(wanted=value)
    assert "wanted" in notes_of(caught.value)
    with pytest.raises(TypeError, match="Unsupported type"):
        async_to_sync(tasks.note.aenqueue)(value)

    assert here.queued() == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [{"a": -float("inf")}], b"\xff"], ids=repr)
def test_a_value_that_databases_disagree_about_is_refused(here: Framework, value: Any) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        tasks.note.enqueue(value)

    assert here.queued() == 0


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("tuple", [1, [2, 3]]),
        ("numbers as keys", {"1": {"2": 3}}),
        ("bytes", "text"),
        ("nothing", None),
    ],
)
def test_a_return_value_is_what_json_makes_of_it(here: Framework, kind: str, value: Any) -> None:
    result = here.run(tasks.give.enqueue(kind))

    assert (result.status, result.return_value) == (SUCCESSFUL, value)


@pytest.mark.parametrize(
    ("kind", "error"),
    [("function", TypeError), ("set", TypeError), ("decimal", TypeError), ("nan", ValueError),
     ("bytes that are no text", ValueError)],
)  # fmt: skip
def test_a_return_value_that_json_has_no_word_for_is_a_failure(
    here: Framework, kind: str, error: type[Exception]
) -> None:
    result = here.run(tasks.give.enqueue(kind))

    assert result.status == FAILED
    assert issubclass(result.errors[0].exception_class, error)
    if error is TypeError:
        assert "Unsupported type" in result.errors[0].traceback
