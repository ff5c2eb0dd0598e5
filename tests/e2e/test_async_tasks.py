"""``async def`` tasks in whole clusters: many at a time, each with its limit, and none harmed by another."""

from __future__ import annotations

import signal
import time

import pytest

from django_cluster import control
from django_cluster.cluster.supervisor.sentinel import ExitCode
from tests.e2e.conftest import MakeProject
from tests.fields import fields

TASKS = "tests.e2e.async_tasks"


def test_a_thousand_waits_take_about_as_long_as_one(make_project: MakeProject) -> None:
    project = make_project(workers=2, async_concurrency=600, recycle=0)
    project.enqueue_many(f"{TASKS}.wait", [(3.0, number) for number in range(1000)])
    project.start()

    rows = project.wait_for_rows(1000)

    assert sorted(row.result for row in rows) == list(range(1000))
    first, last = min(row.started_at for row in rows), max(row.stopped_at for row in rows)
    assert (last - first).total_seconds() < 15  # one after the other, it is half an hour


def test_what_a_coroutine_does_wrong_is_its_own_failure(make_project: MakeProject) -> None:
    project = make_project(workers=1)
    cluster = project.start()
    worker = cluster.pid_of("worker")
    trace = str(project.trace)
    expected = {
        "fail": "ValueError: as it should",
        "cancel_itself": "CancelledError: of its own",
        "exit_process": "SystemExit: 3",
        "close_loop": "RuntimeError",
    }
    failing = {func: project.enqueue(f"{TASKS}.{func}") for func in expected}
    fine = {func: project.enqueue(f"{TASKS}.{func}") for func in ("stop_loop", "child_that_exits", "in_group")}
    leaving = project.enqueue(f"{TASKS}.leave_child", trace)

    for func, words in expected.items():
        row = project.wait_for_row(failing[func])
        assert (func, row.status) == (func, "failure")
        assert words in row.error_traceback
    assert {func: project.wait_for_row(each).result for func, each in fine.items()} == {
        "stop_loop": "went on",
        "child_that_exits": "SystemExit",
        "in_group": 3,
    }
    assert project.wait_for_row(leaving).result == "left"
    assert project.traces() == ["running"]
    assert project.wait_for_row(project.enqueue(f"{TASKS}.process_id")).result == worker


def test_a_coroutine_leaves_no_transaction_to_another(make_project: MakeProject) -> None:
    project = make_project(workers=1)
    project.start()
    using = [project.enqueue(f"{TASKS}.use_database", 0.3) for _ in range(2)]
    assert [project.wait_for_row(each).success for each in using] == [True, True]

    clean = [project.enqueue(f"{TASKS}.in_clean_connection") for _ in range(4)]

    assert [project.wait_for_row(each).result for each in clean] == [True] * 4


def test_an_overdue_coroutine_is_stopped_by_an_exception(make_project: MakeProject) -> None:
    project = make_project(workers=1, timeout=0.5)
    cluster = project.start()
    worker = cluster.pid_of("worker")
    other = project.enqueue(f"{TASKS}.process_id", 1.0, q_options={"timeout": 30})

    row = project.wait_for_row(project.enqueue(f"{TASKS}.wait", 60))

    assert (row.status, row.attempt_count) == ("timeout", 1)
    assert "0.5 seconds" in row.error_message
    assert "in wait" in row.error_traceback
    assert project.wait_for_row(other).result == worker


def test_one_that_swallows_its_cancellation_is_killed_and_the_others_lose_nothing(make_project: MakeProject) -> None:
    project = make_project(workers=1, timeout=60, kill_grace=0.5)
    cluster = project.start()
    worker = cluster.pid_of("worker")
    others = [project.enqueue(f"{TASKS}.process_id", 2.5) for _ in range(20)]
    deaf = project.enqueue(f"{TASKS}.swallow_cancellation", 60, q_options={"timeout": 0.5})

    row = project.wait_for_row(deaf)

    assert (row.status, row.attempt_count) == ("timeout", 1)
    assert "killed" in row.error_message
    assert "in swallow_cancellation" in row.error_traceback
    rows = [project.wait_for_row(each) for each in others]
    assert {(each.success, each.attempt_count) for each in rows} == {(True, 1)}
    assert worker not in {each.result for each in rows}
    assert cluster.logs.count("interrupted: its worker was killed for another task") == 20


def test_who_blocks_the_loop_is_named_and_killed_for_the_limit_of_another(make_project: MakeProject) -> None:
    project = make_project(workers=1, timeout=60, kill_grace=0.5, loop_block_limit=0.3)
    cluster = project.start()
    trace = str(project.trace)
    waiting = project.enqueue(f"{TASKS}.process_id", 0.8, trace, q_options={"timeout": 1.5, "max_attempts": 5})
    project.wait_for_traces(1)
    blocking = project.enqueue(f"{TASKS}.block", 60)

    row = project.wait_for_row(blocking)

    assert row.status == "timeout"
    assert "in block" in row.error_traceback
    assert fields(project.wait_for_row(waiting), "success", "attempt_count") == {"success": True, "attempt_count": 1}
    (line,) = [each for each in cluster.logs.splitlines() if "Event loop of worker 1" in each]
    assert f"[{TASKS}.block]" in line
    assert "in block" in line


def test_a_plain_task_delays_no_coroutine(make_project: MakeProject) -> None:
    project = make_project(workers=1)
    project.start()
    short = project.enqueue(f"{TASKS}.wait", 0.5, "short")
    long = project.enqueue("tests.sample.tasks.sleep", 4)
    began = time.monotonic()

    assert project.wait_for_row(short).result == "short"
    assert time.monotonic() - began < 3.5
    assert project.row(long) is None
    assert project.wait_for_row(long).success


def test_a_killed_worker_loses_none_of_its_coroutines(make_project: MakeProject) -> None:
    project = make_project(workers=1, max_attempts=2, retry_delay=0)
    cluster = project.start()
    worker = cluster.pid_of("worker")
    tasks = [project.enqueue(f"{TASKS}.process_id", 1.0) for _ in range(50)]
    killer = project.enqueue(f"{TASKS}.kill_worker", q_options={"max_attempts": 1})

    rows = [project.wait_for_row(each) for each in tasks]

    assert {row.success for row in rows} == {True}
    assert {row.attempt_count for row in rows if row.result != worker} <= {1, 2}
    assert max(row.attempt_count for row in rows) == 2
    assert project.wait_for_row(killer).status == "lost"


def test_a_stop_waits_for_coroutines_and_a_recycled_worker_finishes_them(make_project: MakeProject) -> None:
    project = make_project(workers=1, recycle=10)
    cluster = project.start()
    tasks = [project.enqueue(f"{TASKS}.wait", 0.5, number) for number in range(25)]
    project.wait_for_rows(25)
    last = [project.enqueue(f"{TASKS}.process_id", 1.0, str(project.trace)) for _ in range(5)]
    project.wait_for_traces(1)

    assert cluster.stop() == 0

    rows = [project.row(each) for each in (*tasks, *last)]
    assert all(row is not None and row.success and row.attempt_count == 1 for row in rows[:25])
    assert all(row is None or row.attempt_count == 1 for row in rows)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_coroutines_that_outlast_the_stop_are_given_back(make_project: MakeProject, number: signal.Signals) -> None:
    project = make_project(workers=1, shutdown_timeout=0.5)
    cluster = project.start()
    for _ in range(5):
        project.enqueue(f"{TASKS}.process_id", 60, str(project.trace))
    project.wait_for_traces(5)

    cluster.signal(number)
    assert cluster.wait_for_exit() == ExitCode.KILLED_TASKS
    assert ("did not finish within shutdown_timeout" in cluster.logs) == (number == signal.SIGTERM)

    project.wait_until_queued(5)
    assert project.rows() == []


def test_a_running_coroutine_is_cancelled_and_no_other(make_project: MakeProject) -> None:
    project = make_project(workers=1, kill_grace=1)
    cluster = project.start()
    worker, trace = cluster.pid_of("worker"), str(project.trace)
    cancelled = project.enqueue(f"{TASKS}.process_id", 60, trace)
    other = project.enqueue(f"{TASKS}.process_id", 3, trace)
    project.wait_for_traces(2)

    began = time.monotonic()
    control.cancel(cancelled)
    row = project.wait_for_row(cancelled)

    assert time.monotonic() - began < 2.5
    assert row.status == "cancelled"
    assert project.wait_for_row(other).result == worker
