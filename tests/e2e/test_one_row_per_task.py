"""A task ends as exactly one row, on each database and broker."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest

from django_cluster.models import Task
from django_cluster.tasks import result
from tests.conftest import wait_until
from tests.e2e.conftest import MakeProject
from tests.e2e.project import Project
from tests.fields import fields

PLACES = [("orm", "sqlite"), ("orm", "postgres"), ("orm", "mariadb"), ("redis", "sqlite"), ("redis", "postgres")]
everywhere = pytest.mark.parametrize(("broker", "database"), PLACES)


@everywhere
def test_a_task_ends_as_a_row(make_project: MakeProject, broker: str, database: str) -> None:
    project = make_project(broker, database)
    before = datetime.now(UTC)
    project.start()

    task_id = project.enqueue("tests.sample.tasks.echo", 1, "two", three=3, task_name="the name", group="the group")

    row = project.wait_for_row(task_id)
    assert fields(row, "status", "success", "final", "attempt_count") == {
        "status": "success",
        "success": True,
        "final": True,
        "attempt_count": 1,
    }
    assert fields(row, "name", "group", "func") == {
        "name": "the name",
        "group": "the group",
        "func": "tests.sample.tasks.echo",
    }
    assert (row.args, row.kwargs) == ((1, "two"), {"three": 3})
    assert row.result == result(task_id) == ((1, "two"), {"three": 3})
    assert before <= row.enqueued_at <= row.started_at <= row.stopped_at <= datetime.now(UTC)
    assert row.worker.startswith("worker ")
    wait_until(lambda: project.broker().size().total == 0, because="the message should have been acknowledged")


def test_a_task_that_raises_ends_as_a_row_with_the_reason(make_project: MakeProject) -> None:
    project = make_project()
    project.start()

    task_id = project.enqueue("tests.sample.tasks.fail", "no luck today")

    row = project.wait_for_row(task_id)
    assert fields(row, "status", "success", "error_kind", "error_message") == {
        "status": "failure",
        "success": False,
        "error_kind": "ValueError",
        "error_message": "no luck today",
    }
    assert "in fail" in row.error_traceback


def test_a_failing_task_is_tried_again_until_it_succeeds(make_project: MakeProject) -> None:
    project = make_project(max_attempts=0, retry_delay=0.1)
    project.start()

    task_id = project.enqueue("tests.sample.tasks.fail_until", str(project.trace), 3)

    row = project.wait_for_row(task_id)
    assert fields(row, "status", "attempt_count", "result") == {"status": "success", "attempt_count": 3, "result": 3}
    assert row.attempts is not None
    assert len(row.attempts) == 2


def check_that_each_of_many_has_one_row(project: Project, number: int) -> None:
    ids = project.enqueue_many("tests.sample.tasks.nothing", [()] * number)

    project.start()

    wait_until(lambda: project.count() >= number, 60, f"{number} no-ops should have ended")
    saved = Counter(Task.objects.values_list("id", "status"))
    assert saved == Counter({(task_id, "success"): 1 for task_id in ids})
    wait_until(lambda: project.broker().size().total == 0, 5, "every message should have been acknowledged")


@everywhere
def test_2000_tasks_have_one_row_each(make_project: MakeProject, broker: str, database: str) -> None:
    check_that_each_of_many_has_one_row(make_project(broker, database), 2_000)


@pytest.mark.slow
@pytest.mark.parametrize(("broker", "database"), [("orm", "sqlite"), ("orm", "postgres"), ("redis", "postgres")])
def test_10000_tasks_have_one_row_each(make_project: MakeProject, broker: str, database: str) -> None:
    check_that_each_of_many_has_one_row(make_project(broker, database), 10_000)


def test_a_failure_that_goes_to_the_cache_uses_up_its_attempts_too(make_project: MakeProject) -> None:
    project = make_project(max_attempts=2, retry_delay=0.1)
    project.start()

    row = project.wait_for_row(project.enqueue("tests.sample.tasks.fail", cached=True))

    assert (row.attempt_count, row.success) == (2, False)
    wait_until(lambda: project.broker().size().total == 0, because="the message should be settled")
