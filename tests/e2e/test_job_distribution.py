"""Who gets what and when: no task waits behind a slow one while another worker has nothing to do."""

from __future__ import annotations

import os
from signal import SIGCONT, SIGSTOP

from django.db import transaction

from tests.conftest import wait_until
from tests.e2e.brokers import on_every_broker, on_every_broker_always
from tests.e2e.conftest import MakeProject
from tests.e2e.project import Project
from tests.fields import fields


def open_the_windows(project: Project) -> None:
    """Let the workers learn that tasks are quick, so that they ask for many at once."""
    # Fewer than would have the workers replaced by new ones, who know nothing.
    project.enqueue_many("tests.sample.tasks.nothing", [()] * 300)
    wait_until(lambda: project.count() == 300, because="the no-ops should be done")


@on_every_broker
def test_quick_tasks_do_not_wait_behind_a_slow_one(make_project: MakeProject, broker: str) -> None:
    project = make_project(broker)
    project.start()
    open_the_windows(project)
    end = project.folder / "end"

    slow = project.enqueue("tests.e2e.tasks.say_and_wait_for", str(project.trace), str(end))
    quick = project.enqueue_many("tests.sample.tasks.nothing", [()] * 100)

    assert all(project.wait_for_row(task_id, within=5).success for task_id in quick)
    assert project.row(slow) is None
    end.touch()
    assert project.wait_for_row(slow).success


@on_every_broker_always
def test_tasks_that_were_handed_out_behind_a_slow_one_are_taken_back(make_project: MakeProject, broker: str) -> None:
    project = make_project(broker)
    end = project.folder / "end"
    project.start()
    open_the_windows(project)

    # In one transaction, so that the slow one and many quick ones reach the same worker together.
    with transaction.atomic():
        slow = project.enqueue("tests.e2e.tasks.say_and_wait_for", str(project.trace), str(end))
        quick = project.enqueue_many("tests.sample.tasks.nothing", [()] * 200)

    assert all(project.wait_for_row(task_id, within=5).success for task_id in quick)
    assert project.row(slow) is None
    end.touch()
    assert project.wait_for_row(slow).success


def test_outcomes_are_not_kept_back_by_a_slow_task(make_project: MakeProject) -> None:
    project = make_project(workers=1)
    end = project.folder / "end"
    ids = project.enqueue_many("tests.sample.tasks.nothing", [()] * 50)
    slow = project.enqueue("tests.e2e.tasks.say_and_wait_for", str(project.trace), str(end))

    project.start()

    assert all(project.wait_for_row(task_id, within=5).success for task_id in ids)
    project.wait_for_traces(1)
    assert project.row(slow) is None
    end.touch()
    assert project.wait_for_row(slow).success


def test_two_clusters_share_the_work_and_no_task_runs_twice(make_project: MakeProject) -> None:
    project = make_project()
    path = str(project.trace)
    first, second = project.start(), project.start()
    ids = project.enqueue_many("tests.sample.tasks.touch_and_sleep", [(path, 0.005, str(n)) for n in range(400)])

    rows = project.wait_for_rows(400)

    assert {row.id for row in rows if row.success} == set(ids)
    assert sorted(project.traces()) == sorted(str(n) for n in range(400))
    workers = {int(row.worker.rpartition(":")[2].rstrip(")")) for row in rows}
    assert workers & set(first.pids("worker"))
    assert workers & set(second.pids("worker"))


@on_every_broker_always
def test_a_task_longer_than_the_lease_runs_once(make_project: MakeProject, broker: str) -> None:
    project = make_project(broker, retry=0.6)
    project.start()
    project.start()

    ids = project.enqueue_many("tests.sample.tasks.touch_and_sleep", [(str(project.trace), 2)] * 4)

    assert all(project.wait_for_row(task_id).success for task_id in ids)
    assert len(project.traces()) == 4


@on_every_broker_always
def test_a_paused_cluster_does_not_overwrite_what_another_has_recorded(make_project: MakeProject, broker: str) -> None:
    project = make_project(broker, retry=1)
    end = project.trace.with_name("end")
    paused = project.start()
    task_id = project.enqueue("tests.e2e.tasks.say_and_wait_for", str(project.trace), str(end))
    project.wait_for_traces(1)

    paused.signal_group(SIGSTOP)
    awake = project.start()
    project.wait_for_traces(2)
    end.touch()
    recorded = project.wait_for_row(task_id)
    paused.signal_group(SIGCONT)
    assert paused.stop() == 0

    row = project.row(task_id)
    assert row is not None
    assert fields(row, "worker", "stopped_at", "attempt_count") == {
        "worker": recorded.worker,
        "stopped_at": recorded.stopped_at,
        "attempt_count": recorded.attempt_count,
    }
    # The server may have answered a question that the paused pusher had asked: that is a delivery, too.
    assert row.attempt_count in (2, 3)
    assert int(row.worker.rpartition(":")[2].rstrip(")")) in awake.pids("worker")
    assert project.broker().size().total == 0


def test_a_worker_that_wakes_from_a_long_pause_begins_nothing_that_another_cluster_has_run(
    make_project: MakeProject,
) -> None:
    project = make_project("redis", workers=1, retry=2)
    paused = project.start()
    open_the_windows(project)
    end = project.trace.with_name("end")
    project.enqueue("tests.e2e.tasks.say_wait_for_and_say", str(project.trace), str(end))
    project.wait_for_traces(1)
    behind = [str(number) for number in range(10)]
    project.enqueue_many("tests.sample.tasks.touch", [(str(project.trace), text) for text in behind])
    wait_until(lambda: project.broker().size().leased == 11, because="all should be leased to the first cluster")
    pusher, worker = paused.pid_of("pusher"), paused.pid_of("worker")

    for pid in (pusher, worker):
        os.kill(pid, SIGSTOP)
    project.start()
    project.wait_for_traces(2)
    end.touch()
    project.wait_for_rows(311)
    os.kill(worker, SIGCONT)  # before the pusher, which would tell it
    wait_until(lambda: project.traces().count("ended") == 2, because="it should have ended what it had begun")
    os.kill(pusher, SIGCONT)
    assert paused.stop() == 0

    assert sorted(text for text in project.traces() if text in behind) == behind
