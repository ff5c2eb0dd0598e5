"""What a running cluster says of itself, and that it does what operators want."""

from __future__ import annotations

import io
import json
import os
import signal
import time
from pathlib import Path

import pytest
from django.core.management import call_command

from django_cluster import control
from django_cluster.core.task_progress import TaskProgress
from django_cluster.django_q.status import Stat
from django_cluster.errors import ClusterError
from django_cluster.models import OperatorCommand
from django_cluster.stores.status import ClusterStatus, RunningTask
from django_cluster.task_objects import TaskHandle
from tests.conftest import wait_until
from tests.e2e.conftest import MakeProject
from tests.e2e.project import Project
from tests.fields import fields

QUICK = {"heartbeat_interval": 0.1, "guard_cycle": 0.1}


def the_cluster(project: Project) -> ClusterStatus:
    """What the one cluster says, as soon as it says that it is running."""
    found: list[ClusterStatus] = []

    def runs() -> bool:
        found[:] = control.clusters()
        return [each.state for each in found] == ["running"]

    wait_until(runs, 20, "one cluster should say that it is running")
    return found[0]


def running_tasks() -> list[RunningTask]:
    return [worker.task for each in control.clusters() for worker in each.workers if worker.task]


@pytest.mark.parametrize("database", ["sqlite", "postgres", "mariadb"])
def test_a_cluster_says_who_it_is_and_what_runs_where(make_project: MakeProject, database: str) -> None:
    project = make_project(database=database, timeout=90, **QUICK)
    cluster = project.start()
    task_id = project.enqueue("tests.sample.tasks.sleep", 60, task_name="a long nap")

    wait_until(running_tasks, 20, "the task should be seen")

    status = the_cluster(project)
    assert fields(status, "name", "queues", "pid") == {
        "name": project.name,
        "queues": (project.name,),
        "pid": cluster.pid,
    }
    assert [process.name for process in status.processes] == [
        "sentinel", "monitor", "pusher", "worker 1", "worker 2", "scheduler",
    ]  # fmt: skip
    assert [worker.pid for worker in status.workers] == cluster.pids("worker")
    assert all(process.rss > 1000 for process in status.processes)
    (task,) = running_tasks()
    assert fields(task, "id", "name", "func") == {
        "id": task_id,
        "name": "a long nap",
        "func": "tests.sample.tasks.sleep",
    }
    assert task.limit == pytest.approx(90, abs=0.5)
    assert abs(task.started - time.time()) < 60
    cluster.signal(signal.SIGQUIT)


def test_the_handle_of_a_running_task_says_how_far_it_is(make_project: MakeProject, tmp_path: Path) -> None:
    project = make_project(**QUICK)
    project.start()
    end = tmp_path / "end"

    handle = TaskHandle[None](project.enqueue("tests.e2e.tasks.report_progress_until", str(end)))
    wait_until(lambda: handle.progress is not None, 20, "the task should say how far it is")
    seen = handle.progress
    end.touch()
    handle.wait(timeout=20)

    assert seen == TaskProgress(done=1, total=3, message="one of three")
    wait_until(lambda: handle.progress is None, 20, "what has ended says nothing")


def test_a_cluster_counts_what_it_has_done(make_project: MakeProject) -> None:
    project = make_project(**QUICK)
    project.start()
    project.enqueue_many("tests.sample.tasks.add", [(1, 2)] * 30)
    project.enqueue("tests.sample.tasks.fail")

    wait_until(lambda: the_cluster(project).throughput.failed, 20, "it should count the failure")

    wait_until(lambda: the_cluster(project).throughput.done == 30, 20, "it should count the successes")
    throughput = the_cluster(project).throughput
    assert sum(each.done for each in throughput.slices) == 30
    assert sum(worker.done for worker in the_cluster(project).workers) == 31
    wait_until(lambda: Stat.get_all()[0].empty_queues(), 20, "everything should be settled")
    (stat,) = Stat.get_all()
    assert (stat.status, len(stat.workers)) == ("Idle", 2)


def test_a_cluster_that_stops_is_gone_and_one_that_dies_is_remembered_as_dead(make_project: MakeProject) -> None:
    project = make_project(**QUICK)
    stopping = project.start()
    first = the_cluster(project)
    stopping.signal(signal.SIGTERM)
    wait_until(lambda: not control.clusters(dead=True), 20, "a stopped cluster should be gone")
    assert Stat.get(first.pid, first.id).status == "Stopped"

    dying = project.start()
    second = the_cluster(project)
    monitor = dying.pid_of("monitor")
    os.kill(monitor, signal.SIGSTOP)  # it would say goodbye
    dying.signal(signal.SIGKILL)
    dying.process.wait()
    os.kill(monitor, signal.SIGKILL)

    wait_until(lambda: not control.clusters(), 20, "a dead cluster should not count as living")
    assert [each.id for each in control.clusters(dead=True)] == [second.id]
    project.start()  # sweeps away what the dead have left behind


@pytest.mark.parametrize("whole", [False, True], ids=["the sentinel", "the whole group"])
def test_a_killed_cluster_is_shown_as_lost_with_what_ran(make_project: MakeProject, whole: bool) -> None:
    project = make_project(**QUICK, retry=600)
    cluster = project.start()
    known = the_cluster(project)
    task_id = project.enqueue("tests.sample.tasks.touch_and_sleep", str(project.trace), 60)
    wait_until(lambda: the_cluster(project).running, 20, "it should say what runs")

    if whole:
        cluster.signal_group(signal.SIGKILL)
    else:
        cluster.signal(signal.SIGKILL)
    cluster.process.wait()
    cluster.wait_until_nobody_is_left()

    wait_until(lambda: not control.clusters(), 20, "it should not count as living")
    (lost,) = control.clusters(dead=True)
    assert fields(lost, "id", "host", "pid", "alive") == {
        "id": known.id,
        "host": known.host,
        "pid": cluster.pid,
        "alive": False,
    }
    assert [worker.task.id for worker in lost.running if worker.task] == [task_id]
    assert lost.lost_at is not None
    assert abs(lost.lost_at - time.time()) < 60
    figures = json.loads(said_by("qinfo", "--json"))
    assert [(each["id"], each["running"][0]["id"]) for each in figures["lost"]] == [(lost.id, task_id)]
    assert f"Lost: {project.name} ({lost.host}:{lost.pid}" in said_by("qinfo")
    assert task_id in said_by("qinfo")
    project.start()  # sweeps away what the dead have left behind


def said_by(command: str, *arguments: str) -> str:
    output = io.StringIO()
    call_command(command, *arguments, stdout=output)
    return output.getvalue()


@pytest.mark.parametrize("broker", ["orm", "redis"])
def test_nothing_is_taken_from_a_paused_queue_until_it_is_resumed(make_project: MakeProject, broker: str) -> None:
    project = make_project(broker, **QUICK)
    project.start()
    the_cluster(project)

    assert control.pause(by="Ada")
    wait_until(lambda: the_cluster(project).paused == (project.name,), 20, "the cluster should say that it pauses")
    wait_until(lambda: not the_cluster(project).in_flight, 20, "what it had taken should be done")
    task_id = project.enqueue("tests.sample.tasks.add", 1, 2)

    seen = the_cluster(project).published_at
    wait_until(lambda: the_cluster(project).published_at > seen + 1, 20, "it should go on to beat")
    assert project.row(task_id) is None
    assert project.broker().size().ready == 1
    assert [(each.queue, each.by) for each in control.paused()] == [(project.name, "Ada")]
    assert not control.pause()

    assert control.resume()
    assert project.wait_for_row(task_id).success
    assert not control.resume()


def test_a_pause_holds_for_clusters_that_are_started_later_and_for_a_new_pusher(make_project: MakeProject) -> None:
    project = make_project(**QUICK)
    control.pause()
    cluster = project.start()
    wait_until(lambda: the_cluster(project).paused, 20, "it should have read what is wanted")
    gone = cluster.kill("pusher")
    cluster.wait_for_replacement("pusher", gone)

    task_id = project.enqueue("tests.sample.tasks.add", 1, 2)

    seen = the_cluster(project).published_at
    wait_until(lambda: the_cluster(project).published_at > seen + 1, 20, "it should go on to beat")
    assert project.row(task_id) is None
    control.resume()
    assert project.wait_for_row(task_id).success


def test_a_worker_is_recycled_after_its_present_task(make_project: MakeProject) -> None:
    project = make_project(workers=1, **QUICK)
    cluster = project.start()
    before = cluster.pid_of("worker")
    task_id = project.enqueue("tests.sample.tasks.sleep", 1.5)
    wait_until(running_tasks, 20, "the task should run")
    (worker,) = the_cluster(project).workers

    assert control.restart_worker(the_cluster(project).id, worker.incarnation)

    assert project.wait_for_row(task_id).success
    cluster.wait_for_replacement("worker", before)
    wait_until(lambda: not OperatorCommand.objects.exists(), 20, "what is done should be forgotten")
    assert project.wait_for_row(project.enqueue("tests.sample.tasks.add", 1, 1)).success
    assert "at operator request" in cluster.logs


def test_nobody_can_recycle_a_worker_that_is_gone(make_project: MakeProject) -> None:
    project = make_project(**QUICK)
    project.start()

    with pytest.raises(ClusterError, match="no longer exists"):
        control.restart_worker(the_cluster(project).id, 4711)


def test_a_killed_monitor_is_replaced_by_one_that_goes_on_with_the_same_row(make_project: MakeProject) -> None:
    project = make_project(**QUICK)
    cluster = project.start()
    before = the_cluster(project)

    gone = cluster.kill("monitor")
    cluster.wait_for_replacement("monitor", gone)

    wait_until(lambda: the_cluster(project).restarts > before.restarts, 20, "it should count the restart")
    assert the_cluster(project).id == before.id


def test_a_cluster_without_heartbeat_works_and_is_not_seen(make_project: MakeProject) -> None:
    project = make_project(heartbeat_interval=0)
    project.start()

    assert project.wait_for_row(project.enqueue("tests.sample.tasks.add", 1, 2)).success
    assert control.clusters(dead=True) == []
