"""Handles: what is known of a task that was sent, and what its result or its failure looks like to the caller."""

from __future__ import annotations

import asyncio
import pickle
import time
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async

from django_cluster import fetch
from django_cluster.brokers import memory
from django_cluster.control import CancelResult
from django_cluster.core.messages import OutcomeStatus
from django_cluster.errors import NotFinished, TaskFailed
from django_cluster.models import Task
from django_cluster.task_objects import TaskHandle, TaskStatus
from django_cluster.task_objects.raised import imported_class
from django_cluster.testing.drain import drain
from tests.datetimes import utc
from tests.sample.task_objects import OutOfStock, add, sell, sell_both

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def queue(settings: Any) -> None:
    settings.Q_CLUSTER = {"name": "tests", "broker": "memory", "on_commit": False, "max_attempts": 2, "retry_delay": 0}
    memory.reset()


def test_a_handle_is_the_id_as_a_text() -> None:
    handle = add.delay(1)

    assert (handle.id, handle.job_id, handle.message_id) == (str(handle),) * 3
    assert fetch(handle) is None
    assert {str(handle): 1}[handle] == 1


def test_a_handle_travels() -> None:
    handle = add.using(queue="slow", delay=60).delay(1)

    copy = pickle.loads(pickle.dumps(handle))

    assert (copy, copy.queue, copy.not_before) == (handle, "slow", handle.not_before)
    assert isinstance(copy, TaskHandle)


def test_the_status_follows_the_task() -> None:
    handle = add.delay(1, 2)
    before = handle.status

    drain()

    assert [before, handle.status] == [TaskStatus.QUEUED, TaskStatus.SUCCESS]
    assert handle.result(timeout=0) == 3


def test_a_task_that_is_not_due_is_scheduled() -> None:
    assert add.using(delay=60).delay(1).status is TaskStatus.SCHEDULED


def row(task_id: str, status: OutcomeStatus, *, final: bool = True) -> None:
    now = utc(2026, 1, 1)
    moments = {"enqueued_at": now, "started_at": now, "stopped_at": now}
    Task.objects.create(id=task_id, name="x", func="x.y", status=status.value, final=final, **moments)


@pytest.mark.parametrize(
    ("ended", "status"),
    [
        (OutcomeStatus.FAILURE, TaskStatus.FAILED),
        (OutcomeStatus.TIMEOUT, TaskStatus.FAILED),
        (OutcomeStatus.LOST, TaskStatus.FAILED),
        (OutcomeStatus.DEAD, TaskStatus.DEAD),
        (OutcomeStatus.REJECTED, TaskStatus.DEAD),
        (OutcomeStatus.DISCARDED, TaskStatus.CANCELLED),
        (OutcomeStatus.EXPIRED, TaskStatus.EXPIRED),
    ],
)
def test_each_end_has_a_status(ended: OutcomeStatus, status: TaskStatus) -> None:
    row("e" * 32, ended)

    assert TaskHandle("e" * 32).status is status


def test_a_failed_run_that_is_followed_by_another_is_no_end() -> None:
    row("e" * 32, OutcomeStatus.FAILURE, final=False)
    handle = TaskHandle[None]("e" * 32)

    assert handle.status is TaskStatus.RETRYING
    with pytest.raises(NotFinished, match="has not finished within 0 seconds"):
        handle.result(timeout=0)


def test_the_end_is_read_once_until_it_is_asked_for_anew(django_assert_num_queries: Any) -> None:
    handle = add.delay(1)
    drain()
    with django_assert_num_queries(1):
        assert (handle.result(timeout=0), handle.result(timeout=0)) == (1, 1)
    Task.objects.all().delete()

    assert handle.status is TaskStatus.SUCCESS
    assert handle.refresh().status is TaskStatus.QUEUED


def test_what_has_not_ended_in_time_is_said() -> None:
    began = time.monotonic()

    with pytest.raises(NotFinished, match=r"has not finished within 0\.05 seconds"):
        add.delay(1).wait(timeout=0.05)

    assert time.monotonic() - began >= 0.05


def test_a_timeout_is_never_negative() -> None:
    with pytest.raises(ValueError, match="None for as long as it takes"):
        add.delay(1).wait(timeout=-1)


def test_the_exception_of_the_project_reaches_the_caller_with_the_traceback_of_the_worker() -> None:
    handle = sell.delay()
    drain(raise_errors=False)

    with pytest.raises(OutOfStock, match="nothing left") as caught:
        handle.result(timeout=0)

    assert 'raise OutOfStock("nothing left")' in "".join(caught.value.__notes__)


def test_an_exception_that_cannot_be_made_again_is_a_failed_task() -> None:
    handle = sell_both.delay()
    drain(raise_errors=False)

    with pytest.raises(TaskFailed, match="neither nor"):
        handle.result(timeout=0)


@pytest.mark.parametrize(
    "path", ["", "not.imported.Error", "os.system", "builtins.SystemExit", "SystemExit", "tests.nothing", "a..b"]
)
def test_a_row_names_exceptions_only(path: str) -> None:
    assert imported_class(path) is None


def test_built_in_exceptions_are_found_by_their_bare_name() -> None:
    assert imported_class("ValueError") is ValueError


def test_a_finished_task_is_run_again_under_another_id() -> None:
    handle = add.delay(1, 2)
    drain()

    again = handle.retry()

    assert drain() == [again]
    assert (again != handle, again.result(timeout=0)) == (True, 3)


def test_what_has_not_been_run_cannot_be_run_again() -> None:
    with pytest.raises(NotFinished, match="nothing to run again"):
        add.delay(1).retry()


@pytest.mark.parametrize("delay", [0, 60])
def test_a_waiting_task_is_cancelled(delay: int) -> None:
    other, handle = add.delay(1), add.using(delay=delay).delay(2)

    assert (handle.cancel(), handle.cancel()) == (CancelResult.CANCELLED, CancelResult.TOO_LATE)
    assert drain() == [other]


def test_a_task_is_cancelled_at_the_broker_through_which_it_was_sent(settings: Any) -> None:
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "broker": "orm", "brokers": {"other": {"broker": "memory"}}}
    handle = pickle.loads(pickle.dumps(add.using(broker="other").delay(1)))

    assert (handle.cancel(), handle.cancel()) == (CancelResult.CANCELLED, CancelResult.TOO_LATE)


def test_a_finished_task_is_not_cancelled() -> None:
    handle = add.delay(1)
    drain()

    assert not handle.cancel()
    assert handle.status is TaskStatus.SUCCESS


@pytest.mark.django_db(transaction=True)
def test_async_code_waits_without_blocking_its_loop() -> None:
    async def wait() -> tuple[bool, int]:
        handle = await add.adelay(1, 2)
        waiting = asyncio.ensure_future(handle.aresult(timeout=30))
        await asyncio.sleep(0)
        await sync_to_async(drain)()
        row = await handle
        return row.success, await waiting

    assert async_to_sync(wait)() == (True, 3)
