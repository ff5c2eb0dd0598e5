"""The examples of docs/how-to/test-your-tasks.md, which shows the parts between the marks, run as they are shown."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import TestCase, override_settings
from freezegun import freeze_time

from django_cluster import async_task, result, schedule, testing
from django_cluster.testing import TaskMode, TaskTestMixin, fail_at, run_pending
from django_cluster.testing.kit import TaskKit
from django_cluster.testing.pytest_plugin import tasks as tasks  # pytest finds it by the entry point elsewhere
from tests.docs.shop_tasks import ask_for_feedback, charge, charged, send_greeting, sign_up

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "test-your-tasks.md").read_text()


# mixin begins
class SignUpTests(TaskTestMixin, TestCase):
    def test_signing_up_sends_a_greeting(self) -> None:
        customer = sign_up("Ada")

        self.tasks.assert_enqueued(send_greeting, (customer,), {"language": "fr"}, on_commit=True)

    def test_the_greeting_speaks_french(self) -> None:
        sign_up("Ada")

        (greeting,) = self.tasks.run_pending()

        assert result(greeting) == "Bonjour, Ada"
        self.tasks.assert_not_enqueued(send_greeting)


# mixin ends


@override_settings(Q_CLUSTER={"name": "tests"})
class TestWithTheQueueOfTheProject(SignUpTests):
    task_mode = "queued"


pytestmark = [pytest.mark.django_db, pytest.mark.task_mode("kept")]


# fixture begins
@pytest.mark.django_db
def test_the_greeting_speaks_french(tasks: TaskKit) -> None:
    sign_up("Ada")

    (greeting,) = tasks.run_pending()

    assert result(greeting) == "Bonjour, Ada"


# fixture ends


# until begins
@pytest.mark.django_db
def test_feedback_is_asked_for_a_week_later(tasks: TaskKit) -> None:
    sign_up("Ada")

    assert len(tasks.run_pending(until=timedelta(days=6))) == 1  # the greeting
    assert len(tasks.run_pending(until=timedelta(days=8))) == 1
    tasks.assert_not_enqueued(ask_for_feedback)


# until ends


# faults begin
@pytest.mark.django_db
def test_an_order_is_charged_although_the_bank_is_away_twice(tasks: TaskKit) -> None:
    tasks.fail_at(charge, 1, 2, error=ConnectionError("the bank is away"))
    payment = charge.delay(7)

    tasks.run_pending(until=timedelta(hours=1))

    assert payment.result(timeout=0) == "paid"


@pytest.mark.django_db
def test_nothing_is_charged_when_workers_die_again_and_again(tasks: TaskKit) -> None:
    tasks.kill_worker_at(charge, 1, 2)
    tasks.time_out_at(charge, 3)
    payment = charge.delay(7)

    tasks.run_pending(until=timedelta(hours=1), raise_errors=False)

    assert payment.status == "failed"
    assert charged == []


# faults end


# schedules begin
@pytest.mark.django_db
def test_orders_are_charged_every_hour(tasks: TaskKit) -> None:
    schedule("tests.docs.shop_tasks.charge", 7, schedule_type="H")

    tasks.run_schedules(until=timedelta(hours=3, minutes=30))

    tasks.assert_enqueued(charge, (7,), times=4)


# schedules end


@pytest.fixture(autouse=True)
def nothing_charged() -> None:
    charged.clear()


def block(words: str) -> str:
    """The code block of the page with these words in it."""
    (found,) = [each for each in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if words in each]
    return str(found)


def test_the_functions_work_without_the_kit() -> None:
    names: dict[str, Any] = {"sign_up": sign_up, "send_greeting": send_greeting, "charge": charge, "fail_at": fail_at}
    names |= {"timedelta": timedelta}

    exec(block("from django_cluster.testing import"), names)

    assert charged == [7]


def test_freezegun_moves_the_clock(tasks: TaskKit) -> None:
    names = {"freeze_time": freeze_time, "async_task": async_task, "tasks": tasks}
    code = block("freeze_time").replace("shop.tasks", "tests.docs.shop_tasks")

    exec(code, dict(names))

    assert charged == [7]


def test_the_failure_that_is_shown_is_the_one_that_is_raised(tasks: TaskKit) -> None:
    send_greeting.using(queue="mail").delay(7)

    with pytest.raises(AssertionError) as caught:
        tasks.assert_enqueued(send_greeting, (8,), {})

    shown = re.search(r"```text\n(.*?)\n```", PAGE, re.DOTALL)
    assert shown is not None
    assert str(caught.value).replace("tests.docs.shop_tasks", "shop.tasks") == shown[1]


def test_the_page_names_every_mode_and_every_public_name() -> None:
    assert [mode for mode in TaskMode if f'`"{mode}"`' not in PAGE] == []
    assert [name for name in testing.__all__ if name not in PAGE and name != "TaskMode"] == []
    assert run_pending() == []
