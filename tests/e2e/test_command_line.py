"""What the options of ``qcluster`` make of a cluster, and what its log shows."""

from __future__ import annotations

import signal
from datetime import timedelta

import pytest
from django.utils import timezone

from django_cluster.cluster.supervisor.sentinel import ExitCode
from django_cluster.models import Schedule
from tests.e2e.brokers import on_every_broker
from tests.e2e.conftest import MakeProject
from tests.e2e.project import QCLUSTER
from tests.e2e.running_cluster import PATIENCE

pytestmark = pytest.mark.fresh_start

UNTIL_EMPTY = (*QCLUSTER, "--until-empty")
WHOLE_LIFE = 3 * PATIENCE
"""Seconds for a cluster to start, to work and to end on a machine that is busy. Costs nothing when all is well."""


@on_every_broker
def test_until_empty_runs_what_waits_and_what_follows_and_ends(make_project: MakeProject, broker: str) -> None:
    project = make_project(broker)
    project.enqueue_many("tests.sample.tasks.add", [(n, n) for n in range(30)])
    project.enqueue("tests.sample.tasks.add", 1, 1, hook="tests.e2e.tasks.send_another")
    project.enqueue("tests.sample.tasks.touch_and_sleep", str(project.trace), 1)

    cluster = project.launch(*UNTIL_EMPTY)

    assert cluster.wait_for_exit(WHOLE_LIFE) == ExitCode.GRACEFUL, cluster.logs
    rows = project.rows()
    assert len(rows) == 33, "the task that the hook has sent, too"
    assert all(row.success for row in rows)
    assert project.broker().size().total == 0


def test_until_empty_ends_at_once_where_nothing_waits(make_project: MakeProject) -> None:
    project = make_project()

    cluster = project.launch(*UNTIL_EMPTY)

    assert cluster.wait_for_exit(WHOLE_LIFE) == ExitCode.GRACEFUL
    assert "nothing is left to do" in cluster.logs


def test_until_empty_waits_for_no_delayed_task_and_no_retry_and_its_exit_code_says_so(
    make_project: MakeProject,
) -> None:
    project = make_project(max_attempts=3, retry_delay=3600)
    project.enqueue("tests.sample.tasks.add", 1, 1, q_options={"delay": 3600})
    failing = project.enqueue("tests.sample.tasks.fail")

    cluster = project.launch(*UNTIL_EMPTY)

    assert cluster.wait_for_exit(WHOLE_LIFE) == ExitCode.TASKS_LEFT
    assert f"Left in queue {project.name}: 2 delayed." in cluster.logs
    row = project.row(failing)
    assert row is not None
    assert (row.attempt_count, row.final) == (1, False)


def test_until_empty_runs_a_retry_that_is_due_at_once(make_project: MakeProject) -> None:
    project = make_project(max_attempts=3, retry_delay=0, retry_jitter=False)
    failing = project.enqueue("tests.sample.tasks.fail")

    cluster = project.launch(*UNTIL_EMPTY)

    assert cluster.wait_for_exit(WHOLE_LIFE) == ExitCode.GRACEFUL
    row = project.row(failing)
    assert row is not None
    assert (row.attempt_count, row.final) == (3, True)


def test_until_empty_sends_and_runs_the_schedules_that_are_due(make_project: MakeProject) -> None:
    project = make_project()
    Schedule.objects.create(func="tests.sample.tasks.add", args="(2, 2)", schedule_type="O", next_run=timezone.now())

    cluster = project.launch(*UNTIL_EMPTY)

    assert cluster.wait_for_exit(WHOLE_LIFE) == ExitCode.GRACEFUL
    assert [row.result for row in project.rows()] == [4]


def test_a_scheduler_alone_sends_and_runs_nothing(make_project: MakeProject) -> None:
    project = make_project()
    due = timezone.now() - timedelta(seconds=1)
    Schedule.objects.create(func="tests.sample.tasks.add", args="(2, 2)", schedule_type="O", next_run=due)

    cluster = project.start("--scheduler-only")

    assert (cluster.pids("worker"), cluster.pids("pusher")) == ([], [])
    project.wait_until_queued(1)
    cluster.signal(signal.SIGTTIN)
    cluster.wait_for_log("Ignoring TTIN")
    assert cluster.stop() == ExitCode.GRACEFUL
    assert project.rows() == []
    assert project.launch(*UNTIL_EMPTY).wait_for_exit(WHOLE_LIFE) == ExitCode.GRACEFUL
    assert [row.result for row in project.rows()] == [4]


def test_an_excluded_queue_is_left_alone(make_project: MakeProject) -> None:
    project = make_project(ALT_CLUSTERS={"slow": {}, "mail": {}})
    ours = [
        project.enqueue("tests.sample.tasks.add", 1, 1),
        project.enqueue("tests.sample.tasks.add", 1, 1, queue="mail"),
    ]
    slow = project.enqueue("tests.sample.tasks.add", 1, 1, queue="slow")

    cluster = project.launch(*UNTIL_EMPTY, "--exclude-queue", "slow")

    assert cluster.wait_for_exit(WHOLE_LIFE) == ExitCode.GRACEFUL
    assert all(project.row(task_id) for task_id in ours)
    assert project.row(slow) is None


def test_successes_and_the_tasks_own_lines_are_seen_without_any_configuration(make_project: MakeProject) -> None:
    project = make_project(workers=1)
    for method in ("fork", "spawn"):
        project.enqueue("tests.e2e.tasks.log_a_line", f"said under {method}", task_name=f"of {method}")

        cluster = project.launch(*UNTIL_EMPTY, "-v", "2", start_method=method)

        assert cluster.wait_for_exit(WHOLE_LIFE) == ExitCode.GRACEFUL
        lines = [line for line in cluster.logs.splitlines() if f"said under {method}" in line]
        assert [line.partition("] ")[2] for line in lines] == [f"INFO shop.orders: said under {method}"]
        assert f"DEBUG Task of {method} [tests.e2e.tasks.log_a_line] succeeded in attempt 1" in cluster.logs


def test_successes_are_not_logged_unless_somebody_asks(make_project: MakeProject) -> None:
    project = make_project()
    project.enqueue("tests.sample.tasks.add", 1, 1)

    cluster = project.launch(*UNTIL_EMPTY)

    assert cluster.wait_for_exit(WHOLE_LIFE) == ExitCode.GRACEFUL
    assert "succeeded" not in cluster.logs
