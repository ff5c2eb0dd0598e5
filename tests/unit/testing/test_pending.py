"""Running what is pending: by the clock of the test, in its own transaction."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import transaction
from django.utils import timezone
from freezegun import freeze_time

from django_cluster.brokers import memory
from django_cluster.errors import Snooze
from django_cluster.models import Schedule
from django_cluster.schedules.declarations import _declarations, declare
from django_cluster.tasks import async_chain, async_task, fetch, result, schedule
from django_cluster.testing import assert_enqueued, assert_not_enqueued, enqueued, run_pending, run_schedules
from tests.datetimes import utc
from tests.sample import tasks

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("only_our_declarations")]
HOUR = timedelta(hours=1)


@pytest.fixture(params=["orm", "memory"], autouse=True)
def broker(request: pytest.FixtureRequest, settings: Any) -> Iterator[str]:
    settings.Q_CLUSTER = {"name": "tests", "broker": request.param, "max_attempts": 3, "retry_delay": 60}
    yield request.param
    memory.reset()


def fail_twice() -> str:
    """Succeeds in its third attempt."""
    Group.objects.create(name=f"attempt {Group.objects.count() + 1}")
    if Group.objects.count() < 3:
        raise LookupError("not yet")
    return "done"


def snooze_once() -> str:
    if not Group.objects.exists():
        Group.objects.create(name="slept")
        raise Snooze(600)
    return "awake"


# ── the transaction of the test ──────────────────────────────────────────────────────────────────


def test_what_waits_for_the_commit_is_sent_and_run() -> None:
    task_id = async_task(tasks.add, 1, 2)

    assert run_pending() == [task_id]
    assert result(task_id) == 3
    assert_not_enqueued()
    assert run_pending() == []


def test_other_callbacks_of_the_commit_are_called_once(django_capture_on_commit_callbacks: Any) -> None:
    called: list[str] = []
    transaction.on_commit(lambda: called.append("before"))
    with django_capture_on_commit_callbacks(execute=True) as captured:
        transaction.on_commit(lambda: called.append("inside"))
        run_pending()
        transaction.on_commit(lambda: called.append("after"))

    assert called == ["before", "inside", "after"]
    assert len(captured) == 2


def test_a_callback_that_fails_says_so_unless_it_is_robust() -> None:
    def fail() -> None:
        raise LookupError("in on_commit")

    transaction.on_commit(fail, robust=True)
    run_pending()
    transaction.on_commit(fail)
    with pytest.raises(LookupError, match="in on_commit"):
        run_pending()
    assert run_pending() == []


def test_callbacks_of_a_rolled_back_block_are_not_called() -> None:
    with transaction.atomic():
        async_task(tasks.nothing)
        transaction.set_rollback(True)

    assert run_pending() == []


# ── queues ───────────────────────────────────────────────────────────────────────────────────────


def test_every_queue_is_run_unless_one_is_named() -> None:
    mail = async_task(tasks.add, 1, 2, q_options={"queue": "mail"})
    plain = async_task(tasks.add, 3, 4)

    assert run_pending("mail") == [mail]
    assert run_pending() == [plain]


def test_a_queue_that_only_the_next_task_of_a_chain_names_is_run_too() -> None:
    async_chain([(tasks.add, (1, 2)), (tasks.add, (3, 4), {"q_options": {"queue": "only in this chain"}})])

    assert len(run_pending()) == 2
    assert_not_enqueued()


def test_the_limit_counts_all_queues() -> None:
    for queue in ("one", "two", "three"):
        async_task(tasks.nothing, q_options={"queue": queue})

    with pytest.raises(AssertionError, match="2 tasks were run"):
        run_pending(limit=2)
    assert len(enqueued()) == 1


# ── until ────────────────────────────────────────────────────────────────────────────────────────


def test_without_until_only_what_is_due_runs() -> None:
    async_task(tasks.add, 1, 2, q_options={"delay": 60})

    assert run_pending() == []
    assert_enqueued(tasks.add)


def test_until_runs_what_becomes_due_in_its_order() -> None:
    too_late = async_task(tasks.nothing, q_options={"delay": 7200})
    late = async_task(tasks.add, 1, 2, q_options={"delay": 3000, "queue": "mail"})
    soon = async_task(tasks.add, 3, 4, q_options={"delay": timedelta(minutes=1)})
    now = async_task(tasks.add, 5, 6)

    assert run_pending(until=HOUR) == [now, soon, late]
    assert [task.id for task in enqueued()] == [too_late]
    assert run_pending(until=timezone.now() + 3 * HOUR) == [too_late]


def test_later_attempts_run_when_they_are_due() -> None:
    task_id = async_task(fail_twice)

    with pytest.raises(LookupError, match="not yet"):
        run_pending(until=timedelta(seconds=59))  # the second attempt is due later
    assert run_pending(until=HOUR) == [task_id] * 2
    assert result(task_id) == "done"


def test_attempts_and_other_tasks_take_turns_by_their_time() -> None:
    failing = async_task(fail_twice)  # again after 60 s, and after another 120 s
    between = async_task(tasks.nothing, q_options={"delay": 100})

    assert run_pending(until=HOUR) == [failing, failing, between, failing]


def test_the_failure_of_the_last_attempt_is_raised() -> None:
    task_id = async_task(tasks.fail)

    with pytest.raises(ValueError, match="no luck"):
        run_pending(until=HOUR)

    task = fetch(task_id)
    assert task is not None
    assert (task.final, task.attempt_count) == (True, 3)


def test_failures_are_only_recorded_by_choice() -> None:
    task_id = async_task(tasks.fail)

    assert run_pending(until=HOUR, raise_errors=False) == [task_id] * 3


def test_a_task_that_snoozes_wakes_when_its_time_has_come() -> None:
    task_id = async_task(snooze_once)

    assert run_pending(until=timedelta(minutes=9)) == [task_id]
    assert run_pending(until=timedelta(minutes=11)) == [task_id]
    assert result(task_id) == "awake"


def test_until_must_be_a_moment_or_a_duration() -> None:
    wrong: Any = 60
    with pytest.raises(TypeError, match="until is a datetime or a timedelta, not 60"):
        run_pending(until=wrong)


# ── schedules ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def only_our_declarations() -> Iterator[None]:
    before = dict(_declarations)
    _declarations.clear()
    yield
    _declarations.clear()
    _declarations.update(before)


def test_each_due_time_of_a_schedule_is_sent_once() -> None:
    schedule("tests.sample.tasks.add", 1, 2, schedule_type=Schedule.HOURLY, next_run=timezone.now() + HOUR)

    assert run_schedules() == []
    ids = run_schedules(until=timedelta(hours=3, minutes=1))

    assert len(ids) == 3
    assert_enqueued(tasks.add, (1, 2), times=3)
    assert run_pending() == ids


def test_several_schedules_are_sent_in_the_order_of_their_time() -> None:
    start = timezone.now()
    schedule("tests.sample.tasks.echo", "often", schedule_type=Schedule.MINUTES, minutes=20, next_run=start + HOUR / 4)
    schedule("tests.sample.tasks.echo", "once", schedule_type=Schedule.ONCE, next_run=start + HOUR / 2)

    ids = run_schedules(until=HOUR, run_tasks=True)

    assert [result(each)[0][0] for each in ids] == ["often", "once", "often", "often"]


def test_a_declared_schedule_is_run() -> None:
    declare(tasks.nothing, {"schedule_type": Schedule.HOURLY})

    assert len(run_schedules(until=timedelta(hours=2, minutes=30))) in (2, 3)
    assert_enqueued(tasks.nothing)


def test_the_clock_of_the_test_is_that_of_the_schedules() -> None:
    schedule("tests.sample.tasks.nothing", schedule_type=Schedule.DAILY, next_run=utc(2031, 5, 1, 12))

    with freeze_time("2031-05-01 11:59", tz_offset=0) as clock:
        assert run_schedules() == []
        clock.tick(60)
        assert len(run_schedules()) == 1


def test_a_schedule_of_another_queue_is_run_there(settings: Any) -> None:
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "ALT_CLUSTERS": {"mail": {}}}
    schedule("tests.sample.tasks.nothing", cluster="mail", schedule_type=Schedule.ONCE, next_run=timezone.now())

    assert run_schedules(queue="tests") == []
    assert len(run_schedules()) == 1
    assert enqueued()[0].queue == "mail"


def test_a_schedule_that_waits_for_its_last_run_goes_on_with_run_tasks() -> None:
    schedule(
        "tests.sample.tasks.nothing",
        schedule_type=Schedule.HOURLY,
        q_options={"no_overlap": True},
        next_run=timezone.now() + HOUR / 2,
    )

    assert len(run_schedules(until=3 * HOUR, run_tasks=True)) == 3


def test_a_schedule_that_cannot_be_run_is_told() -> None:
    schedule("tests.sample.tasks.nothing", schedule_type=Schedule.ONCE, next_run=timezone.now() - HOUR)
    Schedule.objects.update(kwargs="{")

    with pytest.raises(AssertionError, match="cannot be run"):
        run_schedules()


def test_too_many_runs_are_refused() -> None:
    schedule("tests.sample.tasks.nothing", schedule_type=Schedule.MINUTES, minutes=1, next_run=timezone.now())

    with pytest.raises(AssertionError, match="more than 5 runs"):
        run_schedules(until=HOUR, limit=5)
