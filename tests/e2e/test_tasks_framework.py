"""Tasks of Django's Tasks framework, run by whole clusters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.test import override_settings

from django_cluster.models import Task, TrackedTask
from tests.conftest import wait_until
from tests.e2e.conftest import MakeProject
from tests.e2e.running_cluster import PATIENCE
from tests.sample import framework_tasks

tasks: Any = framework_tasks
"""Without their types, which are those of Django: the options of the backend are not among them."""
TASKS = {
    "default": {
        "BACKEND": "django_cluster.backend.ClusterBackend",
        "QUEUES": ["default", "mail"],
        "OPTIONS": {"MAX_ATTEMPTS": 1},
    },
}
ENVIRONMENT = {"TEST_TASKS": json.dumps(TASKS)}


@pytest.fixture(autouse=True)
def declared() -> Iterator[None]:
    with override_settings(TASKS=TASKS):
        yield


def finished(*results: Any) -> list[Any]:
    def reached() -> bool:
        for result in results:
            result.refresh()
        return all(result.is_finished for result in results)

    wait_until(reached, PATIENCE, "the tasks should have finished")
    return list(results)


@pytest.mark.parametrize(
    ("broker", "database"),
    [
        ("orm", "sqlite"),
        pytest.param("orm", "postgres", marks=pytest.mark.server("postgres")),
        pytest.param("orm", "mariadb", marks=pytest.mark.server("mariadb")),
        pytest.param("redis", "sqlite", marks=pytest.mark.server("redis")),
    ],
)
def test_a_plain_cluster_runs_what_the_framework_enqueues(
    make_project: MakeProject, broker: str, database: str
) -> None:
    """Every declared queue; successes, failures, and runs whose worker dies or overruns its limit."""
    project = make_project(broker=broker, database=database, kill_grace=0.2)
    cluster = project.start(environment=ENVIRONMENT)
    cluster.may_crash = True  # the framework logs the traceback of each task that fails

    good = [
        tasks.add.enqueue(1, 2),
        tasks.add.using(queue_name="mail").enqueue(3),
        tasks.leave_transaction_open.enqueue(),
    ]
    bad = [tasks.fail.enqueue("no"), tasks.kill_worker.enqueue(), replace(tasks.sleep_deaf, timeout=0.3).enqueue(30)]
    finished(*good, *bad)

    assert [(each.status, each.return_value) for each in good] == [
        ("SUCCESSFUL", 3),
        ("SUCCESSFUL", 3),
        ("SUCCESSFUL", "left open"),
    ]
    assert [(each.status, [error.exception_class.__name__ for error in each.errors]) for each in bad] == [
        ("FAILED", ["ValueError"]),
        ("FAILED", ["WorkerLost"]),
        ("FAILED", ["TaskTimeout"]),
    ]
    assert all(each.attempts == 1 and each.worker_ids[0].startswith(project.name) for each in (*good, *bad))
    for each in (*good, *bad):
        cluster.wait_for_log(
            f"Task id={each.id} path=tests.sample.framework_tasks.{each.task.name} state={each.status}"
        )
    project.wait_for_rows(len(good + bad))


def test_a_task_that_lost_its_worker_is_tried_again(make_project: MakeProject) -> None:
    project = make_project(retry_delay=0, max_attempts=3)
    with override_settings(TASKS={"default": {"BACKEND": TASKS["default"]["BACKEND"]}}):
        project.start()
        result = tasks.kill_worker_once.enqueue(str(project.trace))
        finished(result)

    assert (result.status, result.return_value, result.attempts) == ("SUCCESSFUL", 2, 2)
    assert [error.exception_class.__name__ for error in result.errors] == ["WorkerLost"]
    assert result.started_at < result.last_attempted_at
    assert len(set(result.worker_ids)) == 2
    # The monitor records the success after the worker has tracked it.
    wait_until(lambda: Task.objects.get(pk=result.id).success, PATIENCE)
    assert Task.objects.get(pk=result.id).result == 2
    assert TrackedTask.objects.get(pk=result.id).attempt == 2
