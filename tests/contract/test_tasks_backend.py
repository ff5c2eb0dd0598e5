"""What Django's Tasks framework demands of ``ClusterBackend``, whatever the broker: sending, running, reading."""

from __future__ import annotations

import datetime
import pickle
import threading
from typing import Any

import pytest
import time_machine
from asgiref.sync import async_to_sync
from django.conf import settings
from django.db import connections
from django.utils import timezone

from django_cluster.errors import UnknownFunction
from django_cluster.tasks import async_task
from tests.contract.conftest import MakeFramework
from tests.contract.tasks_framework import (
    FAILED,
    READY,
    SUCCESSFUL,
    Framework,
    any_task,
    in_hours,
    needs_options_of_tasks,
    needs_pickling,
    stored,
)
from tests.sample import contract_tasks as tasks
from tests.tasks_framework import (
    TaskResult,
    TaskResultDoesNotExist,
    TaskResultMismatch,
    default_task_backend,
    task_backends,
)

# ── sending ──────────────────────────────────────────────────────────────────────────────────────


def test_the_backend_supports_everything(here: Framework) -> None:
    backend = default_task_backend

    assert backend.supports_defer
    assert backend.supports_async_task
    assert backend.supports_get_result
    assert backend.supports_priority


def test_a_result_is_ready_from_the_moment_that_enqueue_returns(here: Framework) -> None:
    before = timezone.now()

    result = tasks.note.enqueue(1, two=2)

    assert (result.status, result.is_finished, result.attempts) == (READY, False, 0)
    assert (result.args, result.kwargs, result.backend) == ([1], {"two": 2}, "default")
    assert (result.errors, result.worker_ids) == ([], [])
    assert (result.started_at, result.last_attempted_at, result.finished_at) == (None, None, None)
    assert result.enqueued_at is not None
    assert before <= result.enqueued_at <= timezone.now()
    assert result.task == tasks.note
    with pytest.raises(ValueError, match="Task has not finished yet"):
        _ = result.return_value
    assert stored(result) == result
    assert tasks.note.get_result(result.id) == result
    assert isinstance(result.id, str)
    assert 0 < len(result.id) < 64


def test_a_result_that_was_given_out_changes_only_when_it_is_refreshed(here: Framework) -> None:
    result = tasks.add.enqueue(1, b=2)
    here.work()

    assert (result.status, result.worker_ids, result.errors) == (READY, [], [])

    result.refresh()
    assert (result.status, result.return_value) == (SUCCESSFUL, 3)


def test_async_code_sends_and_reads(here: Framework) -> None:
    async def send() -> TaskResult[..., Any]:
        result = await tasks.add.aenqueue(1, 2)
        assert await tasks.add.aget_result(result.id) == result
        assert await default_task_backend.aget_result(result.id) == result
        with pytest.raises(TaskResultDoesNotExist):
            await default_task_backend.aget_result("123")
        return result

    result = async_to_sync(send)()
    here.work()
    async_to_sync(result.arefresh)()

    assert (result.status, result.return_value) == (SUCCESSFUL, 3)


def test_another_thread_sends_and_reads(here: Framework) -> None:
    found: list[TaskResult[..., Any]] = []

    def send() -> None:
        try:
            found.append(tasks.add.enqueue(1, 2))
            found.append(stored(found[0]))
        finally:
            connections.close_all()

    thread = threading.Thread(target=send)
    thread.start()
    thread.join(30)

    assert found[0] == found[1] == stored(found[0])
    assert here.run(found[0]).return_value == 3


def test_each_thread_has_a_backend_of_its_own(here: Framework) -> None:
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(task_backends["default"]))
    thread.start()
    thread.join(30)

    assert found[0] is not task_backends["default"]
    assert type(found[0]) is type(task_backends["default"])


def test_tasks_of_other_settings_than_todays_can_be_sent(here: Framework) -> None:
    """The module was imported with another ``TASKS``; a test, or another alias, has changed it since."""
    here.options(("default", "mail"), MAX_ATTEMPTS=2)

    result = tasks.fail.using(queue_name="mail").enqueue()

    assert here.run(result, "mail").attempts == 2


# ── running ──────────────────────────────────────────────────────────────────────────────────────


def test_a_task_runs_and_its_result_says_when_and_where(here: Framework) -> None:
    result = here.run(tasks.add.enqueue(1, b=2))

    assert (result.status, result.is_finished, result.return_value) == (SUCCESSFUL, True, 3)
    assert (result.attempts, result.errors) == (1, [])
    moments = [result.enqueued_at, result.started_at, result.finished_at]
    assert None not in moments
    assert moments == sorted(moments, key=str) or moments == sorted(moments)  # type: ignore[type-var]
    assert result.last_attempted_at == result.started_at
    assert all(0 < len(each) <= 64 for each in result.worker_ids)
    assert stored(result) == result


def test_moments_are_aware_exactly_if_the_project_uses_time_zones(here: Framework) -> None:
    result = here.run(tasks.nothing.enqueue())

    for moment in (result.enqueued_at, result.started_at, result.last_attempted_at, result.finished_at):
        assert moment is not None
        assert timezone.is_aware(moment) == settings.USE_TZ


def test_an_async_task_runs(here: Framework) -> None:
    result: TaskResult[..., Any] = here.run(tasks.add_async.enqueue(1, 2))

    assert result.return_value == 3


def test_a_task_is_running_before_it_is_called(here: Framework) -> None:
    result = here.run(tasks.look.enqueue())

    assert result.return_value == [result.id, 1, "RUNNING", "RUNNING", 1]
    given, read = tasks.calls[0]
    assert read.started_at == read.last_attempted_at == result.started_at
    assert given.started_at == result.started_at
    assert (given.finished_at, read.finished_at) == (None, None)
    assert given.worker_ids == read.worker_ids == result.worker_ids
    assert given.task == tasks.look


@pytest.mark.parametrize(
    "name", ["timeout", "group", "hook", "sync", "task_name", "queue", "cluster", "q_options", "func", "args",
             "kwargs", "task", "backend", "priority", "context", "broker", "save", "chain", "delay", "on_commit"]
)  # fmt: skip
def test_an_argument_may_have_any_name(here: Framework, name: str) -> None:
    result = tasks.note.enqueue(**{name: "mine"})

    assert here.run(result).return_value == [[], {name: "mine"}]


def test_what_a_worker_cannot_find_fails(here: Framework, monkeypatch: pytest.MonkeyPatch) -> None:
    result = tasks.add.enqueue(1, 2)
    with monkeypatch.context() as deployed:
        deployed.delattr(tasks, "add")
        here.work()
        with pytest.raises(UnknownFunction):
            stored(result)

    result.refresh()
    assert (result.status, result.is_finished) == (FAILED, True)
    assert len(result.errors) == 1
    assert issubclass(result.errors[0].exception_class, Exception)


def test_what_is_no_task_any_more_is_never_called(here: Framework, monkeypatch: pytest.MonkeyPatch) -> None:
    result = tasks.note.enqueue()
    with monkeypatch.context() as deployed:
        deployed.setattr(tasks, "note", tasks.note.func)
        here.work()

    result.refresh()
    assert result.status == FAILED
    assert "SuspiciousOperation" in result.errors[0].exception_class_path
    assert tasks.calls == []


def test_sync_mode_runs_the_task_at_once(make_framework: MakeFramework) -> None:
    make_framework(sync=True)

    good, bad = tasks.add.enqueue(1, 2), tasks.fail.enqueue()

    good.refresh()
    bad.refresh()
    assert (good.status, good.return_value) == (SUCCESSFUL, 3)
    assert (bad.status, bad.errors[0].exception_class) == (FAILED, ValueError)


# ── reading ──────────────────────────────────────────────────────────────────────────────────────

ODD_IDS: list[Any] = ["", " ", "a b", "123", "x" * 500, "ä", "\0", "\ud800", "../x", "%s", "'", "0" * 32, 123]


@pytest.mark.parametrize("name", ODD_IDS, ids=ascii)
def test_an_id_that_does_not_exist_may_look_like_anything(here: Framework, name: Any) -> None:
    with pytest.raises(TaskResultDoesNotExist):
        default_task_backend.get_result(name)
    with pytest.raises(TaskResultDoesNotExist):
        tasks.add.get_result(name)


def test_a_task_that_was_not_sent_through_the_framework_is_no_result_of_it(here: Framework) -> None:
    waiting = async_task("tests.sample.tasks.add", 1, 2)
    with pytest.raises(TaskResultDoesNotExist):
        default_task_backend.get_result(waiting)

    here.work()

    with pytest.raises(TaskResultDoesNotExist):
        default_task_backend.get_result(waiting)


def test_a_result_of_another_task_is_a_mismatch(here: Framework) -> None:
    result = tasks.add.enqueue(1, 2)

    with pytest.raises(TaskResultMismatch, match="Task does not match"):
        tasks.note.get_result(result.id)
    with pytest.raises(TaskResultMismatch, match="Task does not match"):
        async_to_sync(tasks.note.aget_result)(result.id)


def test_a_result_carries_the_task_as_it_was_sent(here: Framework) -> None:
    here.options(("default", "mail"))
    later = in_hours(1)
    changed = tasks.look.using(priority=7, queue_name="mail", run_after=later)

    found = stored(changed.enqueue())

    assert found.task == changed
    assert found.task.func is tasks.look.func
    assert (found.task.priority, found.task.queue_name, found.task.run_after) == (7, "mail", later)
    assert (found.task.takes_context, found.task.backend) == (True, "default")


def test_a_result_outlives_the_name_of_its_queue(here: Framework) -> None:
    here.options(("default", "mail"))
    result = here.run(tasks.add.using(queue_name="mail").enqueue(1, 2), "mail")

    here.options(("default", "post"))

    assert stored(result).return_value == 3
    assert stored(result).task.queue_name == "mail"
    result.refresh()
    assert tasks.add.get_result(result.id).status == SUCCESSFUL


@needs_pickling
def test_tasks_and_results_can_be_pickled(here: Framework) -> None:
    waiting, ended = tasks.add.using(priority=5).enqueue(1, 2), here.run(tasks.fail.enqueue())

    for value in (tasks.add, tasks.add.using(priority=5), waiting, ended, stored(waiting), stored(ended)):
        assert pickle.loads(pickle.dumps(value)) == value


@needs_pickling
@needs_options_of_tasks
def test_a_task_with_options_can_be_pickled(here: Framework, monkeypatch: pytest.MonkeyPatch) -> None:
    here.options()
    declared = any_task(max_attempts=4, timeout=9)(tasks.add.func)
    monkeypatch.setattr(tasks, "add", declared)

    for value in (declared, declared.using(priority=3), declared.enqueue(1, 2)):
        assert pickle.loads(pickle.dumps(value)) == value


# ── later, and in which order ────────────────────────────────────────────────────────────────────


def test_a_task_waits_for_its_moment(here: Framework) -> None:
    moment = in_hours(1)
    result = tasks.add.using(run_after=moment).enqueue(1, 2)

    assert here.work() == []
    assert (stored(result).status, stored(result).task.run_after) == (READY, moment)

    with time_machine.travel(datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1, seconds=1), tick=True):
        here.work()

    assert stored(result).return_value == 3


def test_a_moment_that_has_passed_is_now(here: Framework) -> None:
    assert here.run(tasks.add.using(run_after=in_hours(-1)).enqueue(1, 2)).return_value == 3


@pytest.mark.skipif(not settings.USE_TZ, reason="this is about time zones, and TEST_USE_TZ=0")
def test_a_moment_may_be_given_in_any_zone(here: Framework) -> None:
    east = datetime.timezone(datetime.timedelta(hours=9))
    moment = in_hours(1).astimezone(east)

    result = tasks.add.using(run_after=moment).enqueue(1, 2)

    assert stored(result).task.run_after == moment
    assert here.work() == []


@needs_options_of_tasks
def test_a_moment_may_be_a_duration(here: Framework, monkeypatch: pytest.MonkeyPatch) -> None:
    """The documentation of Django says so; its own class cannot, ours can."""
    here.options()
    declared = any_task()(tasks.add.func)
    monkeypatch.setattr(tasks, "add", declared)
    before = timezone.now()

    result = declared.using(run_after=datetime.timedelta(minutes=5)).enqueue(1, 2)

    assert result.task.run_after is not None
    assert datetime.timedelta(minutes=5) <= result.task.run_after - before < datetime.timedelta(minutes=6)
    assert here.work() == []
