"""Cancelling: what runs is stopped within a second, in whatever process; what waits never runs."""

from __future__ import annotations

import time

import pytest

from django_cluster import Chain, Group, call, control
from django_cluster.control import CancelResult
from django_cluster.models import TaskCheckpoint
from tests.e2e import tasks
from tests.e2e.conftest import MakeProject

HOW = ("sleep", "spin", "swallow")


def test_running_tasks_are_stopped_within_a_second(make_project: MakeProject) -> None:
    project = make_project(workers=3, kill_grace=0.5, max_attempts=3)
    cluster = project.start()
    workers = set(cluster.pids("worker"))
    path = str(project.trace)
    ids = {how: project.enqueue(tasks.begin_and, path, how, hook=tasks.say_status) for how in HOW}
    project.wait_for_traces(3)
    asked = time.time()

    for task_id in ids.values():
        assert control.cancel(task_id, by="ada") is CancelResult.REQUESTED

    rows = {how: project.wait_for_row(task_id, within=10) for how, task_id in ids.items()}
    assert {(row.status, row.success, row.attempt_count) for row in rows.values()} == {("cancelled", False, 1)}
    for how in ("sleep", "spin"):
        assert rows[how].error_message == "Cancelled by ada."
        assert "in begin_and" in rows[how].error_traceback
        assert rows[how].stopped_at.timestamp() - asked < 1.5
    assert "was killed" in rows["swallow"].error_message
    assert set(project.wait_for_traces(6)[3:]) == {f"{how} was cancelled" for how in HOW}
    assert len(workers & set(cluster.pids("worker"))) == 2  # only that of the task that did not end
    assert project.wait_for_row(project.enqueue("tests.sample.tasks.add", 1, 1)).result == 2
    assert not control.cancel(ids["sleep"])
    assert control.cancel(ids["spin"]) is CancelResult.TOO_LATE


@pytest.mark.parametrize("broker", ["orm", "redis"])
def test_a_group_and_a_chain_are_cancelled_wherever_they_are(make_project: MakeProject, broker: str) -> None:
    project = make_project(broker, workers=2, kill_grace=5)
    project.start()
    path = str(project.trace)
    group = Group([call(tasks.begin_and, path, "sleep") for _ in range(3)]).on_failure(tasks.say, path, "group failed")
    group.run()
    project.wait_for_traces(2)

    assert control.cancel(group)

    assert [row.status for row in group.fetch(wait=10_000)] == ["cancelled"] * 3
    assert project.wait_for_traces(3) == ["sleep", "sleep", "group failed"]

    chain = Chain([call(tasks.begin_and, path, "sleep"), call(tasks.say, path, "second")])
    chain.run()
    project.wait_for_traces(4)
    assert control.cancel(chain)
    assert [row.status for row in chain.fetch(wait=10_000) or ()] == ["cancelled"]


def test_checkpoints_survive_kills_and_stops(make_project: MakeProject) -> None:
    project = make_project(workers=2, max_attempts=3, retry_delay=0, max_worker_deaths=0)
    cluster = project.start()
    killed = project.enqueue(tasks.keep_and_die)
    assert project.wait_for_row(killed, within=20).result == [0, 1, 2]
    stopped = project.enqueue(tasks.work_until_stopped, str(project.trace))
    project.wait_for_traces(1)

    assert cluster.stop() == 0
    project.start()

    row = project.wait_for_row(stopped)
    assert (row.result, row.attempt_count) == ("continued after half", 1)
    assert not TaskCheckpoint.objects.exists()
