"""Help for tests: what is queued, and running it in the process of the test."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import Group
from django.db import IntegrityError, transaction
from freezegun import freeze_time

from django_cluster.brokers import memory
from django_cluster.client.client import get_client
from django_cluster.errors import Snooze, TaskFailed
from django_cluster.tasks import async_task, fetch, result
from django_cluster.testing import assert_enqueued, assert_not_enqueued, enqueued
from django_cluster.testing.drain import drain
from tests.sample import tasks

pytestmark = pytest.mark.django_db


@pytest.fixture(params=["orm", "memory"], autouse=True)
def queue(request: pytest.FixtureRequest, settings: Any) -> Iterator[None]:
    """The queue is part of the test's transaction, or it is not."""
    settings.Q_CLUSTER = {"name": "tests", "broker": request.param, "max_attempts": 3, "retry_delay": 60}
    yield
    memory.reset()


def send(*args: Any, **kwargs: Any) -> str:
    """Send at once, whatever the broker."""
    return async_task(*args, q_options={"on_commit": False, **kwargs.pop("q_options", {})}, **kwargs)


def send_next(number: int) -> None:
    """A task that sends another, in a transaction of its own."""
    with transaction.atomic():
        Group.objects.create(name=f"group {number}")
        if number > 1:
            async_task(send_next, number - 1)


def send_for_ever() -> None:
    async_task(send_for_ever)


def create_twice() -> None:
    Group.objects.create(name="twice")
    Group.objects.create(name="twice")


# ── running ──────────────────────────────────────────────────────────────────────────────────────


def test_what_is_queued_is_run_in_its_order_and_recorded() -> None:
    first, second = send(tasks.add, 1, 2), send(tasks.add, 3, 4)

    assert drain() == [first, second]

    assert (result(first), result(second)) == (3, 7)
    assert_not_enqueued()


def test_tasks_that_tasks_send_are_run_too() -> None:
    send(send_next, 3)

    assert len(drain()) == 3

    assert Group.objects.count() == 3


def test_tasks_that_send_each_other_for_ever_are_stopped() -> None:
    send(send_for_ever)

    with pytest.raises(AssertionError, match="5 tasks were run, and there are more"):
        drain(limit=5)

    assert len(enqueued()) == 1


def test_a_failure_is_recorded_and_raised() -> None:
    task_id = send(tasks.fail, "no luck today")

    with pytest.raises(ValueError, match="no luck today"):
        drain()

    task = fetch(task_id)
    assert task is not None
    assert not task.success


def test_an_overrun_is_raised_as_an_ordinary_exception() -> None:
    send(tasks.spin, 5, q_options={"timeout": 0.05})

    with pytest.raises(TaskFailed):
        drain()


def test_a_failure_that_is_not_raised_waits_for_its_next_attempt() -> None:
    task_id = send(tasks.fail)

    assert drain(raise_errors=False) == [task_id]

    assert get_client().broker.size().delayed == 1
    assert drain() == []


def test_an_error_of_the_database_spoils_nothing_but_its_task() -> None:
    send(create_twice)

    with pytest.raises(IntegrityError):
        drain()

    assert not Group.objects.filter(name="twice").exists()


def test_what_was_sent_inside_a_drain_is_not_sent_again_by_a_block_around_it(
    django_capture_on_commit_callbacks: Any,
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        send(send_next, 2)
        drain()

    assert_not_enqueued()


def test_delayed_calls_are_queued_and_not_run() -> None:
    send(tasks.nothing, q_options={"delay": 60})

    assert drain() == []
    assert_enqueued(tasks.nothing)


def test_each_cluster_has_a_queue_of_its_own() -> None:
    task_id = send(tasks.nothing, q_options={"queue": "other"})

    assert drain() == []
    assert drain("other") == [task_id]


# ── delays, later attempts, and the clock of the test ────────────────────────────────────────────


def fail_twice() -> None:
    """Succeeds in its third attempt."""
    Group.objects.create(name=f"attempt {Group.objects.count() + 1}")
    if Group.objects.count() < 3:
        raise LookupError("not yet")


def snooze_once() -> str:
    if not Group.objects.exists():
        Group.objects.create(name="slept")
        raise Snooze(3600)
    return "awake"


def test_delayed_tasks_run_before_their_time_by_choice() -> None:
    late = send(tasks.add, 1, 2, q_options={"delay": 7200})
    soon = send(tasks.add, 3, 4, q_options={"delay": 3600})
    now = send(tasks.add, 5, 6)

    assert drain() == [now]
    assert drain(retries=True) == []
    assert drain(delayed=True) == [soon, late]
    assert [result(each) for each in (now, soon, late)] == [11, 7, 3]
    assert_not_enqueued()


def test_later_attempts_run_before_their_time_by_choice() -> None:
    task_id = send(fail_twice)

    assert drain(raise_errors=False) == [task_id]
    assert drain(raise_errors=False, delayed=True) == []
    assert drain(retries=True) == [task_id] * 2
    task = fetch(task_id)
    assert task is not None
    assert (task.success, task.attempt_count) == (True, 3)
    assert_not_enqueued()


def test_with_later_attempts_the_failure_of_the_last_is_raised() -> None:
    task_id = send(tasks.fail)

    with pytest.raises(ValueError, match="no luck"):
        drain(retries=True)

    task = fetch(task_id)
    assert task is not None
    assert (task.final, task.attempt_count) == (True, 3)
    assert_not_enqueued()


def test_a_task_that_never_succeeds_is_not_repeated_for_ever() -> None:
    send(tasks.fail, q_options={"max_attempts": 0})

    with pytest.raises(AssertionError, match="7 tasks were run"):
        drain(retries=True, limit=7)


def test_a_task_that_wants_to_sleep_wakes_by_choice() -> None:
    task_id = send(snooze_once)

    assert drain() == [task_id]
    assert drain() == []
    assert drain(retries=True) == [task_id]
    assert result(task_id) == "awake"


class Freezegun:
    """The clock, stopped by one of the two libraries."""

    def __init__(self, moment: datetime) -> None:
        self._freezer = freeze_time(moment)
        self._clock: Any = None

    def __enter__(self) -> Freezegun:
        self._clock = self._freezer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._freezer.stop()

    def advance(self, seconds: float) -> None:
        self._clock.tick(seconds)


class TimeMachine:
    def __init__(self, moment: datetime) -> None:
        self._traveller = time_machine.travel(moment, tick=False)
        self._clock: Any = None

    def __enter__(self) -> TimeMachine:
        self._clock = self._traveller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._traveller.stop()

    def advance(self, seconds: float) -> None:
        self._clock.shift(seconds)


@pytest.mark.parametrize("year", [2001, 2090])
@pytest.mark.parametrize("library", [Freezegun, TimeMachine])
def test_delays_and_tests_share_one_clock(library: Any, year: int) -> None:
    with library(datetime(year, 5, 1, 12, tzinfo=UTC)) as clock:
        later = send(tasks.add, 1, 2, q_options={"delay": 600})
        at_five = send(tasks.add, 3, 4, q_options={"eta": datetime(year, 5, 1, 17, tzinfo=UTC)})
        now = send(tasks.add, 5, 6)

        assert drain() == [now]
        assert len(enqueued()) == 2
        clock.advance(599)
        assert drain() == []
        clock.advance(1)
        assert drain() == [later]
        clock.advance(5 * 3600)
        assert drain() == [at_five]
    assert_not_enqueued()


@pytest.mark.parametrize("library", [Freezegun, TimeMachine])
def test_later_attempts_and_tests_share_one_clock(library: Any) -> None:
    with library(datetime(2031, 5, 1, 12, tzinfo=UTC)) as clock:
        task_id = send(fail_twice)
        assert drain(raise_errors=False) == [task_id]

        clock.advance(30)
        assert drain() == []
        clock.advance(30)
        assert drain(raise_errors=False) == [task_id]
        clock.advance(3600)
        assert drain() == [task_id]
    assert fetch(task_id) is not None
    assert_not_enqueued()


# ── durable blocks ───────────────────────────────────────────────────────────────────────────────


def pay() -> None:
    with transaction.atomic(durable=True):
        Group.objects.create(name="paid")


def test_a_durable_block_in_a_task_works_as_in_a_plain_call() -> None:
    pay()
    Group.objects.all().delete()
    send(pay)

    drain()

    assert Group.objects.filter(name="paid").exists()


def test_within_a_block_of_the_test_a_durable_one_is_refused_as_in_a_plain_call() -> None:
    with transaction.atomic():
        with pytest.raises(RuntimeError, match="durable"):
            pay()
        send(pay)
        with pytest.raises(RuntimeError, match="durable"):
            drain()
