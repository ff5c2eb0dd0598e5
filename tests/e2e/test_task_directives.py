"""What a task asks for when it cannot go on: another run, a later run, or none; and what the row remembers."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from tests.conftest import wait_until
from tests.e2e.brokers import on_every_broker, on_every_broker_always
from tests.e2e.conftest import MakeProject
from tests.e2e.crashing_brokers import FOLDER, POINT, SQS
from tests.e2e.project import Project
from tests.fields import fields
from tests.servers import SqsServer

ROUGH = "tests.e2e.misbehaving_tasks"


def moments(project: Project) -> list[float]:
    """When each run began."""
    return [float(line) for line in project.traces()]


def check_that_the_queue_is_empty(project: Project) -> None:
    wait_until(lambda: project.broker().size().total == 0, because="the message should have left the queue")


@on_every_broker
@pytest.mark.parametrize("more", [{}, {"ack_failures": True}], ids=["", "ack_failures"])
def test_a_task_that_asks_for_another_run_gets_it_after_its_delay(
    make_project: MakeProject, broker: str, more: dict[str, Any]
) -> None:
    project = make_project(broker, max_attempts=0, retry_delay=60, **more)
    project.start()

    task_id = project.enqueue(f"{ROUGH}.ask_to_be_tried_again", str(project.trace), 2, 0.3)

    row = project.wait_for_row(task_id)
    assert fields(row, "status", "result", "attempt_count", "error_message") == {
        "status": "success",
        "result": 3,
        "attempt_count": 3,
        "error_message": "",
    }
    first, second, third = moments(project)
    assert min(second - first, third - second) >= 0.3
    assert [(each["number"], each["status"], each["kind"], each["message"]) for each in row.attempts or ()] == [
        (1, "failure", "django_cluster.errors.Retry", "run 1 was not the right one"),
        (2, "failure", "django_cluster.errors.Retry", "run 2 was not the right one"),
    ]
    check_that_the_queue_is_empty(project)


def test_a_task_that_no_worker_reached_in_time_is_not_run(make_project: MakeProject) -> None:
    project = make_project(max_attempts=0)
    late = {"expires": datetime.fromtimestamp(time.time() - 1, UTC)}
    task_id = project.enqueue(f"{ROUGH}.ask_to_be_tried_again", str(project.trace), 1, 0, q_options=late)

    project.start()

    row = project.wait_for_row(task_id)
    assert (row.status, row.final, project.traces()) == ("expired", True, [])
    check_that_the_queue_is_empty(project)


def test_without_a_delay_of_its_own_a_wish_for_another_run_takes_that_of_the_settings(
    make_project: MakeProject,
) -> None:
    project = make_project(max_attempts=0, retry_delay=0.4, retry_jitter=False)
    project.start()

    row = project.wait_for_row(project.enqueue(f"{ROUGH}.ask_to_be_tried_again", str(project.trace), 1))

    first, second = moments(project)
    assert row.success
    assert 0.4 <= second - first < 5


def test_wishes_for_another_run_end_with_max_attempts(make_project: MakeProject) -> None:
    project = make_project(max_attempts=2)
    project.start()

    row = project.wait_for_row(project.enqueue(f"{ROUGH}.ask_to_be_tried_again", str(project.trace), 9, 0.05))

    assert (row.status, row.final, row.attempt_count, len(project.traces())) == ("failure", True, 2, 2)
    assert (row.error_kind, row.error_message) == ("django_cluster.errors.Retry", "run 2 was not the right one")
    check_that_the_queue_is_empty(project)


@on_every_broker_always
def test_a_snoozed_task_is_run_later_and_has_used_no_attempt(make_project: MakeProject, broker: str) -> None:
    project = make_project(broker, max_attempts=1)
    project.start()

    task_id = project.enqueue(f"{ROUGH}.ask_to_be_run_later", str(project.trace), 3, 0.3)
    project.wait_for_traces(2)
    seen_while_it_waited = project.row(task_id)

    row = project.wait_for_row(task_id)
    assert seen_while_it_waited is None
    assert fields(row, "status", "result", "attempt_count", "attempts") == {
        "status": "success",
        "result": 4,
        "attempt_count": 1,
        "attempts": None,
    }
    begun = moments(project)
    assert all(later - earlier >= 0.3 for earlier, later in pairwise(begun))
    check_that_the_queue_is_empty(project)


@pytest.mark.parametrize("point", ["before acknowledge", "after acknowledge"])
def test_a_monitor_that_dies_between_the_copies_and_the_deletion_loses_nothing(
    make_project: MakeProject, sqs_server: SqsServer, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    monkeypatch.setenv(SQS, json.dumps(sqs_server.options))
    project = make_project(broker_class="tests.e2e.crashing_brokers.DeadlySqs", max_attempts=1, retry=5)
    project.start(environment={POINT: point, FOLDER: str(project.folder)})

    task_id = project.enqueue(f"{ROUGH}.ask_to_be_run_later", str(project.trace), 2, 0.3)

    row = project.wait_for_row(task_id)
    check_that_the_queue_is_empty(project)
    assert (row.status, project.count()) == ("success", 1)
    deaths = (len((project.folder / "calls").read_text()) + 1) // 2
    assert deaths >= 1


@on_every_broker
def test_a_task_that_gives_up_is_discarded_with_its_reason(make_project: MakeProject, broker: str) -> None:
    project = make_project(broker, max_attempts=0, retry_delay=0.05)
    cluster = project.start()

    row = project.wait_for_row(project.enqueue(f"{ROUGH}.ask_to_be_discarded", str(project.trace)))

    assert fields(row, "status", "success", "final", "attempt_count") == {
        "status": "discarded",
        "success": False,
        "final": True,
        "attempt_count": 1,
    }
    assert (row.error_kind, row.error_message) == ("django_cluster.errors.Discard", "nobody wants it any more")
    check_that_the_queue_is_empty(project)
    cluster.stop()
    assert len(project.traces()) == 1
    assert cluster.logs.count("] discarded in attempt") == 1


@pytest.mark.parametrize(
    ("options", "kind", "runs"),
    [
        ({"retry_on": [LookupError]}, "KeyError", 3),
        ({"retry_on": ["LookupError"]}, "KeyError", 3),
        ({"retry_on": LookupError}, "OSError", 1),
        ({"no_retry_on": LookupError}, "KeyError", 1),
        ({"no_retry_on": ["builtins.LookupError"]}, "OSError", 3),
        ({"retry_on": LookupError, "no_retry_on": KeyError}, "KeyError", 1),
        ({"retry_on": LookupError, "no_retry_on": KeyError}, "LookupError", 3),
    ],
    ids=str,
)
def test_only_exceptions_that_are_worth_it_lead_to_another_run(
    make_project: MakeProject, options: dict[str, Any], kind: str, runs: int
) -> None:
    project = make_project(max_attempts=3, retry_delay=0.05)
    project.start()

    row = project.wait_for_row(project.enqueue(f"{ROUGH}.fail_with", str(project.trace), kind, q_options=options))

    assert (row.status, row.final, row.attempt_count, len(project.traces())) == ("failure", True, runs, runs)
    assert len(row.attempts or ()) == runs - 1
    check_that_the_queue_is_empty(project)


def test_each_earlier_attempt_says_where_when_and_why_it_failed(make_project: MakeProject) -> None:
    project = make_project(workers=1, max_attempts=3, retry_delay=0.05)
    project.start()

    row = project.wait_for_row(project.enqueue(f"{ROUGH}.fail_with", str(project.trace), "OSError"))

    earlier = row.attempts or []
    assert [(each["number"], each["kind"], each["message"]) for each in earlier] == [
        (1, "OSError", "in run 1"),
        (2, "OSError", "in run 2"),
    ]
    assert {each["worker"] for each in earlier} == {row.worker}
    assert all("in fail_with" in each["traceback"] for each in earlier)
    spans = [(each["started"], each["stopped"]) for each in earlier]
    spans.append((row.started_at.timestamp(), row.stopped_at.timestamp()))
    flat = [moment for span in spans for moment in span]
    assert flat == sorted(flat)


def test_of_many_attempts_the_last_ones_are_kept(make_project: MakeProject) -> None:
    project = make_project(workers=1, max_attempts=13, retry_delay=0.01, retry_backoff=1)
    project.start()

    row = project.wait_for_row(project.enqueue(f"{ROUGH}.fail_with", str(project.trace), "OSError"))

    assert (row.attempt_count, row.error_message) == (13, "in run 13")
    assert [each["number"] for each in row.attempts or ()] == list(range(3, 13))
