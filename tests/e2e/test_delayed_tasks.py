"""Delays that a broker cannot keep by itself."""

from __future__ import annotations

import time

import pytest

from django_cluster.errors import NotSupported, PayloadTooLarge
from django_cluster.models import QueuedTask
from tests.e2e.conftest import MakeProject
from tests.sample import tasks

LIMITED = {"broker_class": "tests.e2e.limited_brokers.ShortDelays"}


@pytest.mark.parametrize("arguments", [(), ("--no-scheduler",)], ids=["with schedules", "without schedules"])
def test_a_long_delay_is_kept_in_the_database_until_it_is_due(
    make_project: MakeProject, arguments: tuple[str, ...]
) -> None:
    project = make_project(**LIMITED)
    began = time.time()
    held = project.enqueue(tasks.echo, "late", q_options={"delay": 2})
    (row,) = QueuedTask.objects.all()
    assert row.queue.startswith("delayed:")

    project.start(*arguments)

    task = project.wait_for_row(held)
    assert task.started_at.timestamp() >= began + 2
    assert task.attempt_count == 1
    assert QueuedTask.objects.count() == 0


def test_what_is_held_outlives_killed_schedulers(make_project: MakeProject) -> None:
    project = make_project(**LIMITED, retry=2)
    ids = [project.enqueue(tasks.touch, str(project.trace), str(n), q_options={"delay": 1}) for n in range(50)]
    cluster = project.start()

    for _ in range(3):
        cluster.kill("scheduler")

    for task_id in ids:
        project.wait_for_row(task_id)
    assert sorted(map(int, set(project.traces()))) == list(range(50))


def test_what_the_broker_cannot_do_is_refused_at_the_door(make_project: MakeProject) -> None:
    project = make_project(**LIMITED)

    with pytest.raises(NotSupported, match="no priorities"):
        project.enqueue(tasks.echo, 1, q_options={"priority": 5})
    with pytest.raises(PayloadTooLarge, match="takes 10000"):
        project.enqueue(tasks.echo, "x" * 20_000)
    assert QueuedTask.objects.count() == 0
