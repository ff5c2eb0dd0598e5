"""A paused function is run by no cluster until it is resumed; its tasks wait without cost, and others pass them."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from django_cluster import control
from django_cluster.core.correlation import correlate
from django_cluster.models import Task
from tests.conftest import wait_until
from tests.e2e.conftest import MakeProject
from tests.sample.correlated import logging_task

ADD = "tests.sample.tasks.add"
QUICK = {"heartbeat_interval": 0.1, "guard_cycle": 0.1}


@pytest.mark.parametrize("broker", ["orm", "redis", "sqs"])
def test_a_paused_function_waits_and_everything_else_runs(make_project: MakeProject, broker: str) -> None:
    project = make_project(broker, workers=1, max_attempts=1, recycle=3, **QUICK)
    control.pause_task(ADD, by="Ada")
    paused = [project.enqueue(ADD, 1, 2) for _ in range(3)]
    others = project.enqueue_many("tests.sample.tasks.nothing", [()] * 10)
    project.start()  # it must know of the pause before it runs anything, and so must workers that replace others

    project.wait_for_rows(len(others))
    assert not Task.objects.filter(func=ADD).exists()
    assert control.resume_task(ADD)

    rows = [project.wait_for_row(each) for each in paused]
    assert {(row.result, row.attempt_count) for row in rows} == {(3, 1)}


def test_a_pause_ends_by_itself_in_a_running_cluster(make_project: MakeProject) -> None:

    project = make_project(workers=1, log_format="json", **QUICK)
    cluster = project.start()
    control.pause(by="Ada", until=timedelta(seconds=1))
    wait_until(lambda: any(each.paused for each in control.clusters()), 20, "the cluster should pause")
    with correlate("order 7"):
        task_id = project.enqueue(logging_task, task_name="the bill")

    row = project.wait_for_row(task_id)

    assert (row.correlation_id, control.paused()) == ("order 7", [])
    lines = [json.loads(line) for line in cluster.logs.splitlines() if line.startswith("{")]
    (line,) = [each for each in lines if each["message"] == "a line of a task"]
    assert {name: line[name] for name in ("task_id", "task_name", "attempt", "correlation_id")} == {
        "task_id": task_id,
        "task_name": "the bill",
        "attempt": 1,
        "correlation_id": "order 7",
    }
    assert all("level" in each for each in lines)
