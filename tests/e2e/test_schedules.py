"""Schedules fire on time and exactly once, however many clusters look at them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from django_cluster.models import Schedule
from django_cluster.tasks import schedule
from tests.conftest import wait_until
from tests.e2e.conftest import MakeProject

on_both_brokers = pytest.mark.parametrize("broker", ["orm", "redis"])


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
