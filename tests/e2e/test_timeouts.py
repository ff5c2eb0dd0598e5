"""Time limits: an exception first, SIGKILL after it, and a recorded failure in any case."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import wait_until
from tests.e2e.conftest import MakeProject
from tests.fields import fields


@pytest.mark.parametrize("func", ["tests.sample.tasks.sleep", "tests.sample.tasks.spin"])
def test_an_overdue_task_is_stopped_by_an_exception(make_project: MakeProject, func: str) -> None:
    project = make_project(timeout=0.5)
    cluster = project.start()
    workers = cluster.pids("worker")

    row = project.wait_for_row(project.enqueue(func, 60), within=10)

    assert fields(row, "status", "success", "final") == {"status": "timeout", "success": False, "final": True}
    assert "0.5 seconds" in row.error_message
    assert f"in {func.rpartition('.')[2]}" in row.error_traceback
    assert cluster.pids("worker") == workers


@pytest.mark.parametrize("guard_cycle", [0.2, 0.3, 0.5, 5])
def test_a_task_that_swallows_the_exception_is_killed(make_project: MakeProject, guard_cycle: float) -> None:
    project = make_project(workers=1, timeout=0.5, kill_grace=0.5, guard_cycle=guard_cycle)
    cluster = project.start()
    worker = cluster.pid_of("worker")

    row = project.wait_for_row(project.enqueue("tests.e2e.tasks.swallow_everything", 60), within=10)

    assert fields(row, "status", "success", "final") == {"status": "timeout", "success": False, "final": True}
    assert 1.0 <= row.run_time < 3.0 + guard_cycle
    cluster.wait_for_replacement("worker", worker)
    assert project.wait_for_row(project.enqueue("tests.sample.tasks.add", 1, 1)).result == 2


@pytest.mark.parametrize(("func", "args"), [("tests.e2e.tasks.stay_in_c", ()), ("tests.sample.tasks.hang_deaf", (60,))])
def test_a_task_that_is_stuck_in_c_is_killed(make_project: MakeProject, func: str, args: tuple[Any, ...]) -> None:
    project = make_project(timeout=0.5, kill_grace=0.3)
    project.start()

    row = project.wait_for_row(project.enqueue(func, *args), within=10)

    assert (row.status, row.success) == ("timeout", False)
    assert "killed" in row.error_message


def test_a_task_may_have_its_own_limit(make_project: MakeProject) -> None:
    project = make_project(timeout=60)
    project.start()

    row = project.wait_for_row(project.enqueue("tests.sample.tasks.sleep", 60, q_options={"timeout": 0.25}), within=10)

    assert row.status == "timeout"
    assert "0.25 seconds" in row.error_message


def test_none_as_a_limit_means_that_of_the_cluster(make_project: MakeProject) -> None:
    project = make_project(timeout=0.4)
    project.start()

    row = project.wait_for_row(project.enqueue("tests.sample.tasks.sleep", 60, timeout=None), within=10)

    assert row.status == "timeout"


def test_an_overdue_task_is_tried_again_while_it_may(make_project: MakeProject) -> None:
    project = make_project(timeout=0.4, kill_grace=0.2, max_attempts=2, retry_delay=0.1)
    project.start()
    soft = project.enqueue("tests.sample.tasks.sleep", 60)
    hard = project.enqueue("tests.e2e.tasks.swallow_everything", 60)

    for task_id in (soft, hard):
        row = project.wait_for_row(task_id, within=15)
        assert (row.status, row.attempt_count) == ("timeout", 2)


def test_a_killed_task_does_not_disturb_its_neighbours(make_project: MakeProject) -> None:
    project = make_project(kill_grace=0.2)
    cluster = project.start()
    end = project.folder / "end"
    neighbour = project.enqueue("tests.e2e.tasks.say_and_wait_for", str(project.trace), str(end))
    project.wait_for_traces(1)
    before = set(cluster.pids("worker"))

    overdue = project.enqueue("tests.e2e.tasks.swallow_everything", 60, timeout=0.3)

    assert project.wait_for_row(overdue, within=10).status == "timeout"
    wait_until(lambda: len(cluster.pids("worker")) == 2, because="the killed worker should be replaced")
    assert len(before & set(cluster.pids("worker"))) == 1
    end.touch()
    assert project.wait_for_row(neighbour).success
