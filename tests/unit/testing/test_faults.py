"""Runs that fail, run out of time or lose their worker on purpose."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from django_cluster.brokers import memory
from django_cluster.core.messages import OutcomeStatus
from django_cluster.errors import Discard, Retry, TaskFailed
from django_cluster.lifecycle.fault_injection import FaultInjection
from django_cluster.models import Task
from django_cluster.tasks import async_task, fetch, result
from django_cluster.testing import InjectedFailure, fail_at, kill_worker_at, run_pending, time_out_at
from tests.sample import tasks

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def queue(settings: Any) -> Iterator[None]:
    settings.Q_CLUSTER = {"name": "tests", "broker": "memory", "max_attempts": 3, "retry_delay": 60}
    yield
    memory.reset()
    assert FaultInjection.before_call is None


def found(task_id: str) -> Task:
    task = fetch(task_id)
    assert task is not None
    return task


def test_a_run_fails_and_the_next_does_not() -> None:
    task_id = async_task(tasks.add, 1, 2)

    with fail_at(tasks.add):
        assert run_pending(until=DAY) == [task_id] * 2

    assert (result(task_id), found(task_id).attempt_count) == (3, 2)


def test_runs_are_named_by_their_number_and_the_error_is_chosen() -> None:
    task_id = async_task(tasks.add, 1, 2)

    with fail_at(tasks.add, 1, 2, error=ConnectionError("refused")):
        with pytest.raises(ConnectionError, match="refused"):
            run_pending()
        assert run_pending(until=DAY) == [task_id] * 2

    assert [each["message"] for each in found(task_id).attempts or ()] == ["refused", "refused"]


def test_the_options_of_the_task_decide_what_follows() -> None:
    final = async_task(tasks.add, 1, 2, q_options={"retry_on": [ConnectionError]})

    with fail_at("tests.sample.tasks.add", error=LookupError), pytest.raises(LookupError):
        run_pending(until=DAY)

    assert found(final).final


def test_an_error_may_be_a_directive() -> None:
    discarded, later = async_task(tasks.add, 1, 2), async_task(tasks.echo)

    with fail_at(tasks.add, error=Discard("enough")), fail_at(tasks.echo, error=Retry(600)):
        assert run_pending(until=timedelta(minutes=9), raise_errors=False) == [discarded, later]
        assert run_pending(until=timedelta(minutes=11)) == [later]

    assert found(discarded).status == OutcomeStatus.DISCARDED


def test_without_an_error_the_fault_says_where_it_comes_from() -> None:
    async_task(tasks.nothing)

    with fail_at(tasks.nothing, 1, 2, 3), pytest.raises(InjectedFailure, match="injected by fail_at"):
        run_pending(until=DAY)


def test_a_run_exceeds_its_time_limit() -> None:
    task_id = async_task(tasks.add, 1, 2, q_options={"max_attempts": 1})

    with time_out_at(tasks.add), pytest.raises(TaskFailed, match="time_out_at"):
        run_pending()

    assert found(task_id).status == OutcomeStatus.TIMEOUT


def test_a_worker_dies_and_another_runs_the_task() -> None:
    task_id = async_task(tasks.add, 1, 2)

    with kill_worker_at(tasks.add):
        run_pending(until=timedelta(seconds=1), raise_errors=False)
        assert (found(task_id).status, found(task_id).final) == (OutcomeStatus.LOST, False)
        assert "kill_worker_at" in found(task_id).error_message
        run_pending(until=DAY)

    assert result(task_id) == 3


def test_a_task_under_which_workers_die_again_and_again_is_dead(settings: Any) -> None:
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "max_attempts": 0, "max_worker_deaths": 2}
    task_id = async_task(tasks.add, 1, 2)

    with kill_worker_at(tasks.add, 1, 2), pytest.raises(TaskFailed):
        run_pending(until=DAY)

    assert found(task_id).status == OutcomeStatus.DEAD


def test_inline_there_is_no_worker_that_could_die(settings: Any) -> None:
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "sync": True}

    with kill_worker_at(tasks.add), pytest.raises(TaskFailed, match="runs inline"):
        async_task(tasks.add, 1, 2)


def test_inline_a_run_fails_too(settings: Any) -> None:
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "sync": True}

    with fail_at(tasks.add, error=OSError), pytest.raises(OSError):  # noqa: PT011  it has no message
        async_task(tasks.add, 1, 2)


def test_direct_calls_are_not_affected_and_the_end_of_the_block_ends_it() -> None:
    with fail_at(tasks.add):
        assert tasks.add(1, 2) == 3
        outer = async_task(tasks.add, 1, 2)
    assert run_pending() == [outer]


@pytest.mark.parametrize("number", [0, -1, 1.5, True, "1"])
def test_a_number_that_no_run_has_is_refused(number: Any) -> None:
    with pytest.raises(ValueError, match="1 for the first"), fail_at(tasks.add, number):
        pass


def test_an_error_that_is_none_is_refused() -> None:
    wrong: Any = "refused"
    with pytest.raises(TypeError, match="an exception or a class"), fail_at(tasks.add, error=wrong):
        pass
