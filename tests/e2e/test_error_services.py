"""Error services of a whole cluster: who tells, and that nothing is left untold when a process ends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import MakeProject
from tests.error_service import ErrorService, run_error_service


@pytest.fixture
def error_service() -> Iterator[ErrorService]:
    with run_error_service() as found:
        yield found


def services(error_service: ErrorService) -> dict[str, dict[str, str]]:
    return {
        "sentry": {"dsn": error_service.dsn},
        "rollbar": {"access_token": "token", "endpoint": error_service.endpoint},
    }


def test_a_failure_is_told_to_every_service(make_project: MakeProject, error_service: ErrorService) -> None:
    project = make_project(workers=1, error_reporter=services(error_service))
    project.start()

    ids = project.enqueue_many("tests.sample.tasks.fail", [("no luck",)] * 3)

    project.wait_for_rows(3)
    events = [event["contexts"]["task"] for event in error_service.wait_for_sentry(3)]
    items = [item["custom"]["task"] for item in error_service.wait_for_rollbar(3)]
    assert {task["id"] for task in events} == {task["id"] for task in items} == set(ids)
    assert {(task["queue"], task["attempt"], task["final"]) for task in events} == {(project.name, 1, True)}
    assert all(task["worker"].startswith("worker 1") for task in events)


def test_a_death_is_told_by_the_process_that_files_it(make_project: MakeProject, error_service: ErrorService) -> None:
    project = make_project(workers=1, error_reporter=services(error_service))
    cluster = project.start()

    task_id = project.enqueue("tests.sample.tasks.die")

    project.wait_for_row(task_id)
    (event,) = error_service.wait_for_sentry()
    assert event["contexts"]["task"]["id"] == task_id
    assert event["fingerprint"] == ["tests.sample.tasks.die", "WorkerLost"]
    assert error_service.wait_for_rollbar()[0]["custom"]["task"]["id"] == task_id
    cluster.stop()
    assert len(error_service.sentry) == 1


LAZY = "tests.e2e.lazy_reporter.LazyReporter"


def test_what_waits_to_be_told_is_sent_before_a_worker_is_recycled(make_project: MakeProject) -> None:
    project = make_project(workers=1, recycle=1)
    project.start(error_reporter={LAZY: {"path": str(project.trace)}})

    project.enqueue_many("tests.sample.tasks.fail", [("no luck",)] * 3)

    assert project.wait_for_traces(3) == ["tests.sample.tasks.fail ValueError"] * 3


def test_what_waits_to_be_told_is_sent_before_a_cluster_ends(make_project: MakeProject) -> None:
    """The worker has something to tell, and so has the monitor: a death."""
    project = make_project(workers=1)
    cluster = project.start(error_reporter={LAZY: {"path": str(project.trace)}})
    dead, failed = (project.enqueue(f"tests.sample.tasks.{name}") for name in ("die", "fail"))
    project.wait_for_row(dead)
    project.wait_for_row(failed)

    cluster.stop()

    assert sorted(project.traces()) == ["tests.sample.tasks.die WorkerLost", "tests.sample.tasks.fail ValueError"]
