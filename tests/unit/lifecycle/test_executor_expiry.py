"""The option ``expires``: what no worker has begun by then is not run, and says so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from django_cluster import async_task, fetch
from django_cluster.control import retry
from django_cluster.core.headers import read_header, write_header
from django_cluster.core.messages import OutcomeStatus, TaskHeader, TaskOptions
from django_cluster.core.option_values import build_options
from django_cluster.errors import TaskExpired
from django_cluster.lifecycle.admission import has_expired
from django_cluster.task_objects import TaskHandle, TaskStatus
from django_cluster.testing.drain import drain
from tests.sample import tasks
from tests.unit.lifecycle.test_executor import executor, job

ECHO = "tests.sample.tasks.echo"


def header(expires_at: float | None) -> TaskHeader:
    return TaskHeader(id="1", name="a", func=ECHO, enqueued_at=0.0, options=TaskOptions(expires_at=expires_at))


@pytest.mark.parametrize(("expires_at", "expired"), [(None, False), (10.1, False), (10.0, True), (9.9, True)])
def test_a_task_has_expired_from_that_moment_on(expires_at: float | None, expired: bool) -> None:
    assert has_expired(header(expires_at), 10.0) is expired


def test_an_expired_task_is_not_run_and_ends_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(tasks, "add", lambda *args: calls.append(1))

    late = executor(clock=lambda: 12.5).run(job("tests.sample.tasks.add", 1, 2, options=TaskOptions(expires_at=10.0)))

    assert calls == []
    assert late.status == OutcomeStatus.EXPIRED
    assert late.failure == (
        "django_cluster.errors.TaskExpired",
        "It expired 2.5 seconds before a worker could run it.",
        "",
    )


def test_a_task_that_began_in_time_may_end_later() -> None:
    moments: Iterator[float] = iter([9.0, 9.9, 20.0, 20.0])

    outcome = executor(clock=lambda: next(moments)).run(job(ECHO, options=TaskOptions(expires_at=10.0)))

    assert outcome.status == OutcomeStatus.SUCCESS


@pytest.mark.parametrize("expires", [90, 90.0, timedelta(seconds=90)])
def test_a_number_is_seconds_from_now(expires: Any) -> None:
    before = time.time()
    expires_at = build_options({"expires": expires}).expires_at

    assert expires_at is not None
    assert before + 90 <= expires_at <= time.time() + 90


def test_a_datetime_is_the_moment_itself() -> None:
    moment = datetime(2030, 1, 1, tzinfo=UTC)

    assert build_options({"expires": moment}).expires_at == moment.timestamp()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"expires": 0}, "The option 'expires': a task expires after more than 0 seconds, and this is 0"),
        ({"expires": -1}, "after more than 0 seconds"),
        ({"expires": 1e12}, "at most 3155760000 seconds"),
        ({"expires": 60, "delay": 60.5}, "The task would expire before it may run"),
        ({"expires": 60, "eta": datetime(2100, 1, 1, tzinfo=UTC)}, "The task would expire before it may run"),
    ],
)
def test_an_expiry_that_makes_no_sense_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        build_options(options)


@pytest.mark.parametrize("expires", ["soon", True, [1]])
def test_an_expiry_that_is_no_duration_is_refused(expires: Any) -> None:
    with pytest.raises(TypeError, match="The option 'expires': a duration is a number of seconds"):
        build_options({"expires": expires})


def test_the_moment_travels_in_the_header() -> None:
    sent = header(1234.5)

    assert read_header(write_header(sent)) == sent


@pytest.mark.django_db
def test_the_caller_is_told() -> None:
    task_id = async_task(tasks.echo, 1, q_options={"expires": datetime.fromtimestamp(time.time() - 5, UTC)})
    drain(raise_errors=False)
    handle = TaskHandle[Any](task_id)

    assert handle.status is TaskStatus.EXPIRED
    with pytest.raises(TaskExpired, match="before a worker could run it"):
        handle.result(timeout=0)


@pytest.mark.django_db
def test_an_operator_s_retry_runs_what_had_expired() -> None:
    task_id = async_task(tasks.echo, 1, q_options={"expires": datetime.fromtimestamp(time.time() - 5, UTC)})
    drain(raise_errors=False)

    row = fetch(task_id)
    assert row is not None
    new_id = retry(row)
    drain()

    row = fetch(new_id)
    assert row is not None
    assert row.status == OutcomeStatus.SUCCESS
