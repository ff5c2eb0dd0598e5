"""Schedules fire on time and exactly once, however many clusters look at them."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta

from django.test import override_settings
from django.utils import timezone

from django_cluster.models import Schedule
from django_cluster.schedules.dispatcher import CLAIM_DURATION
from django_cluster.tasks import schedule
from tests.conftest import wait_until
from tests.e2e.brokers import on_both_brokers
from tests.e2e.conftest import MakeProject
from tests.e2e.running_cluster import PATIENCE, ROOT
from tests.fields import fields

MANY = 100


@on_both_brokers
def test_due_schedules_fire_exactly_once_with_two_clusters_running(make_project: MakeProject, broker: str) -> None:
    project = make_project(broker, schedule_interval=0.2)
    path = str(project.trace)
    first, second = project.start(), project.start()
    now = timezone.now()

    schedule("tests.sample.tasks.touch", path, "once", schedule_type="O", next_run=now)
    every = schedule("tests.sample.tasks.touch", path, "minutes", schedule_type="I", minutes=5, next_run=now)

    project.wait_for_traces(2)
    # Whoever would have fired them a second time looks at this one first.
    schedule("tests.sample.tasks.touch", path, "later", schedule_type="O", next_run=now + timedelta(seconds=2))
    assert sorted(project.wait_for_traces(3)) == ["later", "minutes", "once"]
    project.wait_for_rows(3)
    every.refresh_from_db()
    assert every.next_run == now + timedelta(minutes=5)
    wait_until(lambda: Schedule.objects.count() == 1, 5, "a schedule that runs once is deleted when it has run")
    assert first.alive
    assert second.alive


def test_a_schedule_that_cannot_be_fired_does_not_hold_up_others(make_project: MakeProject) -> None:
    project = make_project(schedule_interval=0.2)
    now = timezone.now()
    broken = schedule("tests.sample.tasks.touch", str(project.trace), schedule_type="O", next_run=now)
    Schedule.objects.filter(pk=broken.pk).update(args="1, (", next_run=now - timedelta(minutes=1))
    schedule("tests.sample.tasks.touch", str(project.trace), schedule_type="O", next_run=now)

    project.start()

    project.wait_for_traces(1)
    wait_until(
        lambda: Schedule.objects.filter(pk=broken.pk).exclude(last_error="").exists(), 5, "the row should say why"
    )


def test_a_cluster_may_leave_the_schedules_to_others(make_project: MakeProject) -> None:
    project = make_project()

    cluster = project.start("--no-scheduler")

    assert cluster.pids("scheduler") == []
    assert project.wait_for_row(project.enqueue("tests.sample.tasks.add", 1, 1)).success


def test_a_scheduler_that_is_killed_again_and_again_fires_each_schedule_once(make_project: MakeProject) -> None:
    project = make_project("redis", schedule_interval=0.05)
    cluster = project.start()
    begin = timezone.now() + timedelta(seconds=1)
    for number in range(MANY):
        due = begin + timedelta(milliseconds=20 * number)
        schedule("tests.sample.tasks.touch", str(project.trace), str(number), schedule_type="O", next_run=due)

    for traces in range(0, MANY, MANY // 5):
        project.wait_for_traces(traces, PATIENCE + CLAIM_DURATION.total_seconds())
        killed = cluster.kill("scheduler")
        cluster.wait_for_replacement("scheduler", killed)

    wait_until(
        lambda: not Schedule.objects.exists(),
        PATIENCE + CLAIM_DURATION.total_seconds(),
        "all schedules should have been fired",
    )
    project.wait_for_traces(MANY)
    wait_until(lambda: project.broker().size().total == 0, PATIENCE, "nothing should be left on the queue")
    assert sorted(project.traces(), key=int) == [str(number) for number in range(MANY)]


@on_both_brokers
def test_a_schedule_without_overlap_is_free_again_when_its_task_has_ended(
    make_project: MakeProject, broker: str
) -> None:
    project = make_project(broker, schedule_interval=0.1)
    row = schedule(
        "tests.sample.tasks.touch",
        str(project.trace),
        schedule_type="H",
        q_options={"no_overlap": True, "save": False},
    )

    project.start()

    project.wait_for_traces(1)
    wait_until(
        lambda: Schedule.objects.filter(pk=row.pk, runs=1, busy_since=None, claimed_until=None).exists(),
        PATIENCE,
        "the schedule should be free again, though no row says that its task has ended",
    )
    assert project.rows() == []


def test_a_schedule_that_stands_in_the_code_runs_once_with_two_clusters(make_project: MakeProject) -> None:
    project = make_project(schedule_interval=0.1)
    environment = {"DJANGO_SETTINGS_MODULE": "tests.e2e.other_settings", "DECLARED_TRACE": str(project.trace)}

    for _ in range(2):
        project.start(environment=environment)
    project.wait_for_traces(1)
    schedule("tests.sample.tasks.touch", str(project.trace), "later", schedule_type="O")

    assert project.wait_for_traces(2) == ["declared", "later"]
    row = Schedule.objects.get()
    assert fields(row, "declared", "name", "runs") == {
        "declared": "tests.e2e.declaring.tasks.leave_trace:tracer",
        "name": "tracer",
        "runs": 1,
    }


def test_a_project_without_time_zones_lives_on_one_naive_clock(make_project: MakeProject) -> None:
    project = make_project(schedule_interval=0.2, heartbeat_interval=0.2)
    environment = {**project.environment(), "TEST_USE_TZ": "0"}

    with override_settings(USE_TZ=False):
        begin = timezone.now()
        row = schedule("tests.sample.tasks.touch", str(project.trace), schedule_type="I", minutes=5)
        project.start(environment={"TEST_USE_TZ": "0"})
        (task,) = project.wait_for_rows(1)
        row.refresh_from_db()
        assert begin <= task.enqueued_at <= task.started_at <= task.stopped_at <= timezone.now()
        assert row.next_run is not None
        assert begin + timedelta(minutes=4) < row.next_run <= timezone.now() + timedelta(minutes=5)

    command = [sys.executable, "-m", "django", "qmonitor", "--json"]
    seen = json.loads(subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, check=True).stdout)
    assert 0 <= seen["taken_at"] - seen["ended"][0]["moment"] < 60
    assert 240 < seen["schedules"][0]["next_run"] - seen["taken_at"] <= 300
